"""In a real browser: pages fit a narrow screen, print on A4, a label on one sheet, and colours are told apart by everybody."""

import re
import shutil
import subprocess
from html import escape
from pathlib import Path

import pytest

from simulations.evidence.case import Case
from simulations.evidence.document import document_of, tables_of
from simulations.evidence.page.pages import TEMPLATES, evidence_page, label
from simulations.evidence.page.words import LANGUAGES
from simulations.evidence.writers import WRITERS
from tests.simulations.evidence.page.made import HEADER, declared, withdrawal
from tests.world.ended_run import ended_run

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
in_a_browser = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here")
PAGES = [name for name in WRITERS if name.endswith(".html")]
NARROW = 400
#: The window itself cannot be as narrow as that; a frame in it can, and media queries go by the frame.
FRAME = f"""<!doctype html><title>-</title><body><iframe width="{NARROW}" height="2000" style="border:0" srcdoc="%s"></iframe><script>
window.onload = () => {{ const view = document.querySelector("iframe").contentWindow;
  document.title = [view.innerWidth, view.document.documentElement.scrollWidth].join(" "); }}</script>"""


def browse(place: Path, *arguments: str) -> str:
    """What Chromium prints for a page, without a network."""
    assert CHROMIUM
    profile = place.parent / "profile"
    quiet = (
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--hide-scrollbars",
        f"--user-data-dir={profile}",
        "--no-first-run",
    )
    offline = "--host-resolver-rules=MAP * ~NOTFOUND"
    done = subprocess.run(
        [CHROMIUM, *quiet, offline, *arguments, place.as_uri()], capture_output=True, text=True, timeout=120, check=True
    )
    return done.stdout


@pytest.fixture(scope="module")
def case(tmp_path_factory):
    return Case.of(ended_run(tmp_path_factory.mktemp("run") / "run").path)


@pytest.fixture(scope="module")
def document(case):
    return document_of(case)


@pytest.mark.slow
@in_a_browser
@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_no_wider_than_a_narrow_screen_with_everything_unfolded(name, case, document, tmp_path):
    page = WRITERS[name](case, document).decode()
    place = tmp_path / name
    place.write_text(FRAME % escape(page.replace("<details>", "<details open>")), encoding="utf-8")
    shown = browse(place, "--dump-dom")
    width, needed = map(int, re.search(r"<title>(\d+) (\d+)</title>", shown).groups())
    assert width == NARROW and needed <= NARROW


@pytest.mark.slow
@in_a_browser
@pytest.mark.parametrize("name", PAGES)
def test_a_page_prints_on_a4_and_a_label_on_one_sheet(name, case, document, tmp_path):
    place, sheet = tmp_path / name, tmp_path / "page.pdf"
    place.write_bytes(WRITERS[name](case, document))
    assert pages_of(place, sheet) == 1 if name.startswith("label") else pages_of(place, sheet) > 1


@pytest.mark.slow
@in_a_browser
@pytest.mark.parametrize("language", LANGUAGES)
def test_a_label_with_every_sentence_and_long_answers_still_fits_one_sheet(language, document, tmp_path):
    tables = [t for t in tables_of(document) if t.key not in ("withdrawal", "gdpr-35-7-a", "gdpr-13-22")]
    said = [declared(question, "An office in a town, " * 90) for question in ("controller", "contact", "human_contact")]
    spoken = type(tables[0])("said", tuple(said))
    place = tmp_path / "label.html"
    place.write_text(label(HEADER, [*tables, withdrawal(), spoken], language), encoding="utf-8")
    assert pages_of(place, tmp_path / "page.pdf") == 1


@pytest.mark.slow
@in_a_browser
def test_what_is_folded_on_a_screen_is_on_paper(document, tmp_path):
    """A page with everything unfolded takes as many sheets as the page itself."""
    page = evidence_page(HEADER, tables_of(document), "en")
    sheets = []
    for name, content in (("folded", page), ("unfolded", page.replace("<details>", "<details open>"))):
        (tmp_path / f"{name}.html").write_text(content, encoding="utf-8")
        sheets.append(pages_of(tmp_path / f"{name}.html", tmp_path / f"{name}.pdf"))
    assert sheets[0] == sheets[1] > 20


def pages_of(place: Path, sheet: Path) -> int:
    """How many pages a page prints on; each is A4."""
    browse(place, "--no-pdf-header-footer", f"--print-to-pdf={sheet}")
    printed = sheet.read_bytes()
    boxes = re.findall(rb"/MediaBox \[([\d. ]+)\]", printed)
    pages = len(re.findall(rb"/Type /Page\b(?!s)", printed))
    assert pages == len(boxes) > 0
    for box in boxes:
        left, bottom, right, top = map(float, box.split())
        assert (right - left, top - bottom) == pytest.approx((595.3, 841.9), abs=1)
    return pages


# ---- colours: WCAG 2.2, 1.4.3 (AA): 4.5 to 1 for text


def luminance(colour: str) -> float:
    channels = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def schemes() -> dict[str, dict[str, str]]:
    style = (TEMPLATES / "style.css").read_text(encoding="utf-8")
    light, dark = (
        dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", part)) for part in style.split("prefers-color-scheme: dark")[:2]
    )
    return {"light": light, "dark": {**light, **dark}}


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_stands_out_from_what_is_behind_it(scheme):
    colours = schemes()[scheme]
    texts = {"ink", "muted", "link", "answered", "operator", "open", "measured", "configured", "declared", "missing"}
    assert texts | {"paper", "wash", "badge", "badge-paper", "rule"} == set(colours)
    for text in texts:
        for behind in ("paper", "wash", "badge-paper"):
            assert contrast(colours[text], colours[behind]) >= 4.5, (text, behind)
    assert contrast(colours["badge"], colours["badge-paper"]) >= 4.5


def test_contrast_is_that_of_the_standard():
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)


def test_dark_is_another_scheme():
    assert schemes()["light"]["paper"] != schemes()["dark"]["paper"]
