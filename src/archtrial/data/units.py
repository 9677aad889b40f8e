"""Amounts that are written with their unit: "12 kg", "1.5 M", "€ 12", "3 h 20 min".

A column in one unit is one of numbers. One in several is a question, and not a column of
names: 12 kg and 300 g are amounts, whose order the texts do not show.
"""

import collections
import json
import re
import shlex
from collections.abc import Mapping

from archtrial.errors import DataError

__all__ = ["CURRENCY", "FEW", "several_units", "without_unit"]

_SIGNS = {
    "€": "EUR", "£": "GBP", "₹": "INR", "₽": "RUB", "₩": "KRW", "₺": "TRY", "₪": "ILS",
    "₴": "UAH", "฿": "THB", "₫": "VND", "₦": "NGN", "₱": "PHP", "$": "USD", "¥": "JPY",
    "US$": "USD", "A$": "AUD", "C$": "CAD", "HK$": "HKD", "R$": "BRL", "NZ$": "NZD",
    "S$": "SGD", "Rs.": "INR", "Rs": "INR", "kr": "kr", "kr.": "kr", "zł": "PLN",
}  # fmt: skip
_WRITTEN = (
    "USD EUR GBP CHF JPY AUD CAD NZD SEK NOK DKK PLN CZK HUF INR CNY RMB BRL MXN ZAR TRY"
    " KRW RUB SGD HKD ILS THB IDR MYR PHP VND UAH RON BGN AED SAR EGP NGN KES ARS CLP COP"
)
_CODES = _WRITTEN.split()
CURRENCY = "|".join(re.escape(c) for c in sorted({*_SIGNS, *_CODES}, key=len)[::-1])

# Units that make amounts of numbers before them, whoever else stands in the column.
_WORDS = (
    # length, area, volume, angle
    "nm um mm cm dm m km in inch inche ft foot feet yd yard mi mile nmi meter metre"
    " kilometer kilometre centimeter centimetre millimeter millimetre ' \" \u2032 \u2033 ha acre"
    " sqm sqft sqkm sqmi sq.ft sq.m m2 cm2 mm2 km2 ft2 m3 cm3 ft3"
    " ml mL cl cL dl dL l L liter litre milliliter millilitre gal gallon pt qt cup tsp"
    " tbsp cc ccm cu.ft ° deg degree rad"
    # mass, force, pressure, temperature
    " ng ug mcg mg g gr gram gramme kg kilo kilogram t ton tonne lb pound oz ounce st"
    " stone N kN Pa hPa kPa MPa bar mbar psi atm mmHg °C °F ℃ ℉ C F K kelvin celsius"
    " fahrenheit"
    # time, frequency, speed
    " ns us ms s sec second min minute h hr hour d day w wk week mo mon month y yr"
    " year Hz kHz MHz GHz bpm rpm m/s km/h kmh kph mph ft/s kn knot"
    # electricity, energy, light
    " mV V kV mA mAh Ah W kW MW GW kWh MWh Wh J kJ MJ cal kcal hp bhp ps PS kgm Nm dB dBm"
    " lm lx ohm Ω kΩ ppm ppb g/l g/L mg/l mg/L mg/dl mg/dL mmol/l mmol/L g/km kg/m3"
    " mpg kmpl km/kg mol mmol"
    # information, counts, powers of ten
    " B KB kB MB GB TB PB Kb kb Mb Gb KiB MiB GiB TiB byte bit kbps Mbps Gbps px pixel dpi"
    " k M mn mio Mio mil bn Bn T thousand million billion trillion crore lakh lac"
    " Cr % ‰ pct percent piece pc"
)
_UNITS = frozenset(_WORDS.split())
_CURRENCIES = frozenset([*_SIGNS.values(), *_CODES])
_FOLDED = {"kg", "cm", "km", "mm", "ft", "lb", "oz", "hp", "hr", "yr", "mg", "mi"}

_SPACES = "[ \u00a0\u2007\u2009\u202f]"
_NUMBER = rf"\d[\d.,]*(?:(?:{_SPACES}|['\u2019])\d{{3}}(?!\d))*(?:[.,]\d+)?|[.,]\d+"
_UNIT = r"[^\W\d_](?:[^\W\d_]|[./²³^·*%-])*\d?|[°%‰'\"\u2032\u2033](?:[CF]\b)?|℃|℉"
_MEASURED = re.compile(
    rf"(?P<sign>[+\-\u2212]?)\s*(?P<before>{CURRENCY})?\s*(?P<minus>[\-\u2212]?)"
    rf"(?P<number>(?:{_NUMBER})(?:[eE][+-]?\d+)?)"
    rf"\s*(?P<unit>(?:{_UNIT})(?: (?:{_UNIT}))?)?"
)
_OF_ZERO = {"", *_CURRENCIES}
_ZERO = re.compile(r"-?0*[.,]?0*")
_SPELLED = str.maketrans({"²": "2", "³": "3", "^": "", "µ": "u", "μ": "u"})
_COMPOSED = "several"
_PART = re.compile(rf"(?:{_NUMBER})\s*({_UNIT}),?\s*")

FEW = 0.05
"""In so small a share of a column of plain numbers a unit is an oddity, as a word is."""


def without_unit(name: str, told: Mapping[str, int]) -> dict[str, str]:
    """Finds the numbers of a column whose cells have one unit.

    Args:
        name: The column's name.
        told: How often each cell that is not missing occurs.

    Returns:
        Cells as they stand to their numbers; none where the column is no such.

    Raises:
        DataError: There are several units, or a unit in some cells and none in others.
    """
    measures = {text: found for text in told if (found := _measure(text)) is not None}
    counts: collections.Counter[str] = collections.Counter()
    for text, (number, unit) in measures.items():
        # Nothing is nothing in any unit, but for temperatures.
        if unit not in _OF_ZERO or not _ZERO.fullmatch(number):
            counts[unit] += told[text]
    units = counts.keys() - {""}
    known = {unit for unit in units if _is_known(unit)}
    total, plain = sum(told.values()), counts[""]
    united = sum(counts[unit] for unit in known)
    if len(units) == 1 and not units & {_COMPOSED, "%", *_CURRENCIES} and not plain:
        (unit,) = units
        every = sum(told[text] for text in measures) == total
        if every or (unit in known and counts[unit] * 2 > total):
            return {
                text: number
                for text, (number, own) in measures.items()
                if own == unit or _ZERO.fullmatch(number)
            }
    strange = sum(counts.values()) - united - plain
    if (
        # Prices and shares are read with their sign and without it.
        (len(known) < 2 and known <= {"%", *_CURRENCIES})
        or (united + plain) * 2 <= total
        or strange > FEW * total
        or (plain and united <= FEW * total)
        or (len(known) < 2 and not plain and _COMPOSED not in known)
    ):
        return {}
    asked = sorted(known | ({""} if plain else set()), key=lambda u: (-counts[u], u))
    raise several_units(
        name,
        {
            next(t for t, (_, own) in measures.items() if own == unit): counts[unit]
            for unit in asked[:3]
        },
    )


def several_units(name: str, examples: Mapping[str, int]) -> DataError:
    """Returns the question what a column's amounts mean.

    Args:
        name: The column's name.
        examples: A cell of each kind, and how many there are.
    """
    shown = [f"{text[:30]!r} ({count} of the kind)" for text, count in examples.items()]
    return DataError(
        f"the cells of column {name!r} are amounts in one unit",
        " and ".join(shown),
        "Write them as numbers in one unit, or have each text taken as a category:"
        f" --categorical {shlex.quote(name)} (in a protocol, categorical ="
        f" [{json.dumps(name, ensure_ascii=False)}]).",
    )


def _measure(text: str) -> tuple[str, str] | None:
    """Returns a cell's number and its unit, "" for none; None if it is no such."""
    if len(text) > 60 or not any(map(str.isdigit, text)):
        return None
    match = _MEASURED.fullmatch(text)
    if match is not None:
        sign = "-" if {match["sign"], match["minus"]} & set("-\u2212") else ""
        unit = _named(match["unit"] or "")
        before = _SIGNS.get(match["before"] or "", match["before"] or "")
        return sign + match["number"], f"{before} {unit}".strip()
    # One part after the other: a pattern of all of them may take for ever.
    parts, end = 0, 0
    while (part := _PART.match(text, end)) and _named(part[1]) in _UNITS:
        parts, end = parts + 1, part.end()
    rest = text[end:]
    composed = parts > 1 and (not rest or re.fullmatch(_NUMBER, rest))
    return (text, _COMPOSED) if composed else None


def _named(unit: str) -> str:
    """Returns the one spelling of a unit: hr for Hrs, kg for KG, EUR for the sign."""
    unit = _SIGNS.get(unit, unit).rstrip(".").translate(_SPELLED)
    lower = unit.lower()
    short = lower.removesuffix("s")
    if short in _FOLDED:
        return short
    return short if len(unit) > 3 and unit not in _UNITS else unit


def _is_known(unit: str) -> bool:
    if unit == _COMPOSED:
        return True
    return all(part in _UNITS or part in _CURRENCIES for part in unit.split(" "))
