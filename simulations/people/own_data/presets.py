"""Schemas of public logs, and the names that columns and events usually have.

Sources: the files' own pages. RetailRocket: events.csv of "Retailrocket recommender system dataset"; REES46: "eCommerce behavior
data from multi category store"; Online Retail II: UCI Machine Learning Repository, id 502.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from ...scenarios.own_data import Kind

#: Names of events as `plain` gives them.
EVENTS: Final[Mapping[str, Kind]] = {
    **dict.fromkeys(("ansicht", "aufruf"), "view"),
    **dict.fromkeys(("klick",), "click"),
    **dict.fromkeys(("merkzettel", "wunschliste"), "favourite"),
    **dict.fromkeys(("warenkorb",), "cart"),
    **dict.fromkeys(("kauf", "bestellung"), "purchase"),
    **dict.fromkeys(("view", "views", "pageview", "page_view", "product_view", "detail", "view_item", "impression"), "view"),
    **dict.fromkeys(("click", "clicks", "pv", "select_item"), "click"),
    **dict.fromkeys(("favourite", "favorite", "fav", "wishlist", "like", "save", "add_to_wishlist"), "favourite"),
    **dict.fromkeys(("cart", "addtocart", "add_to_cart", "add", "basket", "add_to_basket"), "cart"),
    **dict.fromkeys(("purchase", "purchased", "transaction", "buy", "order", "sale", "checkout_completed"), "purchase"),
    **dict.fromkeys(("remove_from_cart", "removefromcart", "remove", "search", "login", "logout"), "ignore"),
}  # fmt: skip

#: What an event is whose name is not above, by the verb that it begins with: patterns that Python and duckdb read alike. What went
#: wrong or was taken back is no event of any kind.
FAILED: Final = r"(^|_)(failed|error|cancelled|canceled|abandoned|aborted|declined|refunded|removed)$"
BY_VERB: Final[tuple[tuple[str, Kind], ...]] = (
    (r"^add_to_(cart|basket|bag|trolley)", "cart"),
    (r"^(like|liked|favou?rited?|saved?|followed|follow|bookmark|bookmarked|add_to)(_|$)", "favourite"),
    (r"^(buy|bought|purchased?)(_|$)", "purchase"),
    (r"^(click|clicked|tap|tapped|selected|select)(_|$)", "click"),
    (
        r"^(view|viewed|play|played|watch|watched|listen|listened|read|stream|streamed|visit|visited|browsed?)(_|$)",
        "view",
    ),
)


@dataclass(frozen=True)
class PresetColumns:
    """Columns (role -> name) of a public schema, the ones that must be there for it to be recognised, what its events mean, and
    two rules of Online Retail II alone: a pattern that an item must match to be a product, and that a price of 0 is no sale."""

    columns: Mapping[str, str]
    needed: tuple[str, ...]
    events: Mapping[str, Kind] = field(default_factory=dict)
    time_unit: str = "auto"
    date_order: str = "auto"
    zone: str = ""
    item_pattern: str = ""
    no_free: bool = False


PRESETS: Final[Mapping[str, PresetColumns]] = {
    "retailrocket": PresetColumns(
        {"user": "visitorid", "time": "timestamp", "event": "event", "item": "itemid", "order": "transactionid"},
        ("visitorid", "timestamp", "event", "itemid"),
        {"view": "view", "addtocart": "cart", "transaction": "purchase"},
        time_unit="ms",
        zone="UTC",
    ),
    "rees46": PresetColumns(
        {"user": "user_id", "time": "event_time", "event": "event_type", "item": "product_id", "price": "price",
         "category": "category_code"},
        ("event_time", "event_type", "product_id", "user_id"),
        {"view": "view", "cart": "cart", "remove_from_cart": "ignore", "purchase": "purchase"},
        time_unit="text",
        date_order="ymd",
        zone="UTC",
    ),
    "online-retail-ii": PresetColumns(
        {"user": "CustomerID", "time": "InvoiceDate", "item": "StockCode", "price": "UnitPrice", "quantity": "Quantity",
         "order": "InvoiceNo"},
        ("InvoiceDate", "StockCode", "Quantity"),
        item_pattern=r"^\d{5}",
        no_free=True,
    ),
}  # fmt: skip

#: Other names of the same columns, in later copies of a schema's files.
ALSO: Final[Mapping[str, str]] = {"InvoiceNo": "Invoice", "UnitPrice": "Price", "CustomerID": "Customer ID"}

#: What columns of each role are called, the surest first: as `bare` gives them. After the English names, German, French, Spanish,
#: Italian and Dutch ones.
NAMES: Final[Mapping[str, tuple[str, ...]]] = {
    "user": ("userid", "customerid", "visitorid", "clientid", "memberid", "householdid", "accountid", "shopperid", "buyerid",
             "user", "customer", "client", "uid", "kundennr", "kundennummer", "kundenid", "kunde", "nutzerid", "nutzer",
             "benutzerid", "benutzer", "mitgliedsnr", "idclient", "numeroclient", "idcliente", "cliente", "idusuario", "usuario",
             "utente", "klantnr", "klantnummer", "klant"),
    "time": ("eventtime", "timestamp", "orderdate", "purchasedate", "transactiondate", "transactiontimestamp", "invoicedate",
             "createdat", "datetime", "time", "date", "ts", "ordertime", "day", "times", "bestelldatum", "kaufdatum",
             "rechnungsdatum", "buchungsdatum", "zeitstempel", "zeitpunkt", "datum", "datecommande", "dateachat", "horodatage",
             "fechapedido", "fechacompra", "fecha", "dataordine", "besteldatum"),
    "event": ("eventtype", "event", "eventname", "action", "behavior", "behaviour", "behaviortype", "activity", "kind",
              "ereignis", "aktion", "evenement", "evento"),
    "category": ("categorycode", "category", "productcategory", "categoryname", "department", "producttype", "genre",
                 "categoryid", "productgroup", "segment", "warengruppe", "kategorie", "produktkategorie", "produktgruppe",
                 "artikelgruppe", "categorie", "rayon", "categoria"),
    "item": ("productid", "itemid", "sku", "stockcode", "product", "item", "articleid", "asin", "productname", "artikelnr",
             "artikelnummer", "artikelid", "artikel", "produktid", "produktnr", "produkt", "produit", "article", "producto",
             "articulo", "prodotto", "articolo"),
    "amount": ("amount", "total", "salesvalue", "totalprice", "revenue", "linetotal", "value", "sales", "ordervalue", "betrag",
               "umsatz", "gesamtpreis", "gesamtbetrag", "montant", "importe", "monto", "importo", "bedrag"),
    "price": ("price", "unitprice", "einzelpreis", "stuckpreis", "preis", "prixunitaire", "prix", "preciounitario", "precio",
              "prezzounitario", "prezzo", "prijs"),
    "quantity": ("quantity", "qty", "units", "count", "menge", "anzahl", "stuckzahl", "quantite", "cantidad", "quantita",
                 "aantal"),
    "order": ("orderid", "transactionid", "invoice", "invoiceno", "basketid", "bestellnr", "bestellnummer", "bestellid",
              "auftragsnr", "auftragsnummer", "rechnungsnr", "rechnungsnummer", "belegnr", "numerocommande", "idcommande",
              "commande", "idpedido", "pedido", "factura", "ordine", "bestelnr"),
}  # fmt: skip


def bare(name: str) -> str:
    """A column's name as the table above has it: small letters without accents, and figures.

    >>> bare(" Order Date"), bare("Stückpreis"), bare("categoryId")
    ('orderdate', 'stuckpreis', 'categoryid')
    """
    letters = unicodedata.normalize("NFKD", name.casefold())
    return "".join(letter for letter in letters if letter.isalnum())


def kind_of_event(name: str, known: Mapping[str, Kind]) -> Kind | None:
    """What an event of this `plain` name counts as: by a name that is known, or else by its verb; None if neither tells.

    >>> kind_of_event("buy_ticket", EVENTS), kind_of_event("purchase_failed", EVENTS), kind_of_event("zzz", EVENTS)
    ('purchase', None, None)
    """
    if name in known:
        return known[name]
    if re.search(FAILED, name):
        return None
    return next((kind for pattern, kind in BY_VERB if re.search(pattern, name)), None)


def plain(name: str) -> str:
    """A name of an event as the tables above have it.

    >>> plain(" Add to Cart")
    'add_to_cart'
    """
    return "_".join(name.strip().lower().replace("-", " ").replace("_", " ").split())
