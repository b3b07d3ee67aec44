"""Schemas of public logs, and the names that columns and events usually have.

Sources: the files' own pages. RetailRocket: events.csv of "Retailrocket recommender system dataset"; REES46: "eCommerce behavior
data from multi category store"; Online Retail II: UCI Machine Learning Repository, id 502.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from ...scenarios.own_data import Kind

#: Names of events in lower case, blanks and dashes as "_"; what is not here is looked up in the scenario only.
EVENTS: Final[Mapping[str, Kind]] = {
    **dict.fromkeys(("view", "views", "pageview", "page_view", "product_view", "detail", "view_item", "impression"), "view"),
    **dict.fromkeys(("click", "clicks", "pv", "select_item"), "click"),
    **dict.fromkeys(("favourite", "favorite", "fav", "wishlist", "like", "save", "add_to_wishlist"), "favourite"),
    **dict.fromkeys(("cart", "addtocart", "add_to_cart", "add", "basket", "add_to_basket"), "cart"),
    **dict.fromkeys(("purchase", "purchased", "transaction", "buy", "order", "sale", "checkout_completed"), "purchase"),
    **dict.fromkeys(("remove_from_cart", "removefromcart", "remove", "search", "login", "logout"), "ignore"),
}  # fmt: skip


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

#: What columns of each role are called, the surest first: lower case, blanks and dashes as "_".
NAMES: Final[Mapping[str, tuple[str, ...]]] = {
    "user": ("user_id", "userid", "customer_id", "customerid", "visitorid", "visitor_id", "client_id", "member_id",
             "household_id", "account_id", "shopper_id", "buyer_id", "user", "customer", "client", "uid"),
    "time": ("event_time", "timestamp", "order_date", "purchase_date", "transaction_date", "transaction_timestamp",
             "invoicedate", "invoice_date", "created_at", "datetime", "date_time", "time", "date", "ts", "order_time",
             "day", "time_s"),
    "event": ("event_type", "event", "event_name", "action", "behavior", "behaviour", "behavior_type", "activity", "kind"),
    "category": ("category_code", "category", "product_category", "category_name", "department", "product_type", "genre",
                 "category_id", "product_group", "segment"),
    "item": ("product_id", "item_id", "itemid", "sku", "stockcode", "stock_code", "product", "item", "article_id",
             "asin", "product_name"),
    "amount": ("amount", "total", "sales_value", "total_price", "revenue", "line_total", "value", "sales", "order_value"),
    "price": ("price", "unit_price", "unitprice"),
    "quantity": ("quantity", "qty", "units", "count"),
    "order": ("order_id", "orderid", "transaction_id", "transactionid", "invoice", "invoiceno", "invoice_no", "basket_id"),
}  # fmt: skip


def plain(name: str) -> str:
    """A name as the tables above have it.

    >>> plain(" Order Date")
    'order_date'
    """
    return "_".join(name.strip().lower().replace("-", " ").replace("_", " ").split())
