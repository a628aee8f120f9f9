"""Names and pen portraits of neighbourhood types, made from their index table."""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

__all__ = ["name_types", "portray_types", "sensitive"]

Slot = Literal["age", "means", "place", "tenure", "people", "work", "home", "life"]

INDEX_GAP = 10.0  # an index within 90..110 is no feature
STRENGTH_GAP = 0.25  # nor is a mean within a quarter of a standard deviation
NAME_SHARE = 0.1  # a name must hold for at least one in ten: 4% unemployed is no neighbourhood of job seekers

# A name must never say who people are by a protected trait, flagged as one or not.
_SENSITIVE = re.compile(
    r"ethnic|\brac(e|es|ial)\b|religi|muslim|islam|christian|catholic|protestant|jew|hindu|sikh|buddh|church|"
    r"\bblack\b|\bwhite\b(?!.collar)|\basian\b|african|caribbean|\bindian\b|chinese|pakistani|bangladesh|"
    r"hispanic|latin[oax]\b|\broma\b|native|indigenous|aborigin|māori|maori|pacific island|two or more races|"
    r"\bborn\b|\bcob\b|country of birth|foreign|immigra|migrant|nationalit|citizen|passport|asylum|refugee|"
    r"gyps(y|ies)|irish|\barabs?\b|british|polish|turkish|kurdish|somali|ukrainian|ancestr|parentage|skin colou?r|"
    r"caste|atheis|agnostic|mosque|synagogue|quran|politic|\bvot(e|es|ed|ers?|ing)\b|party member|union member|genetic|"
    r"\bdeaf|\bblind\b|\bsick(ness)?\b|wheelchair|impairment|dementia|autis|diabet|\bobes|\bhiv\b|\blgb|non.binary|"
    r"language|\bspeak|english|disab|\bhealth\b|illness|mental|pregnan|maternity|\bsex\b|sexual|gender|"
    r"transgender|\bgay\b|lesbian|bisexual|\bmales?\b|\bfemales?\b|\bmen\b|\bwomen\b|mothers?\b|fathers?\b|"
    r"trade union|criminal|offen[cd]|civil partnership|same.sex|"
    r"marital|never.married|\bmarried\b(?! couples?| children| no children| with)|divorc|separated|widow",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class _Trait:
    """What a name may say of a variable: ``high`` where it is over-represented, ``low`` where it is rare."""

    slot: Slot
    high: str = ""
    low: str = ""


# First match wins; text is the label followed by the variable's name with spaces. Order matters: "no car"
# stands before "car", "social" before "renting".
_LEXICON: tuple[tuple[str, _Trait], ...] = (
    (r"median age|mean age|average age", _Trait("age", "older", "young")),
    (r"student|studying", _Trait("people", "students")),
    (r"no cars?\b|without (a |any )?(car|vehicle)|no vehicle|cars? none", _Trait("life", "without cars")),
    (
        r"(two|2|three|3)\W*(or more|plus|\+)?\W*(cars|vehicles)|(cars|vehicles)\W*(two|2|3)",
        _Trait("life", "with several cars", "with few cars"),
    ),
    (r"one car|1 car|cars? one\b", _Trait("life", "with one car")),
    (
        r"same.address|lived here|not moved|did(n't| not) move",
        _Trait("life", "who stay put", "on the move"),
    ),
    (
        r"social(ly)?.(rent|landlord|hous)|social rented|council|public housing",
        _Trait("tenure", "social renters"),
    ),
    (r"private(ly)?.rent|rent\w*.private|tenure private", _Trait("tenure", "private renters")),
    (r"median rent|average rent|rent level", _Trait("means", "high-rent", "low-rent")),
    (r"\brent(ing|ers?|ed|s)?\b", _Trait("tenure", "renters")),
    (
        r"house (price|value)|home value|property value|dwelling value",
        _Trait("means", "high-value", "low-value"),
    ),
    (r"\bown(ing|ers?|ed|s)?\b|ownership|mortgage", _Trait("tenure", "owners")),
    (
        r"vacant|standing empty|empty (homes|dwellings)|second homes?|holiday",
        _Trait("home", "among empty homes"),
    ),
    (r"overcrowd|over.crowd", _Trait("home", "in crowded homes")),
    (r"under.occup|spare room", _Trait("home", "in roomy homes")),
    (r"semi.detached", _Trait("home", "in semis")),
    (r"detached", _Trait("home", "in detached houses")),
    (r"terrace|row house", _Trait("home", "in terraces")),
    (r"flat shar|shared house|sharers?|house.?share|hh shared", _Trait("people", "sharers")),
    (r"\bflats?\b|apartment|multi.?family|high.rise|tower", _Trait("home", "in flats")),
    (r"communal|institution|group quarters", _Trait("home", "in communal homes")),
    (r"mobile home|caravan|trailer", _Trait("home", "in mobile homes")),
    (r"lone.parent|single.parent", _Trait("people", "lone parents")),
    (r"(without|no) (dependent )?child|no kids|child.?free", _Trait("people", "couples")),
    (r"child|famil|\bkids\b", _Trait("people", "families")),
    (r"living alone|one.person|single.person|1.person", _Trait("people", "people living alone")),
    (r"\bcouples?\b|cohabit", _Trait("people", "couples")),
    (r"retire|pensioner", _Trait("people", "retired people")),
    (r"low.income|poverty|poor\b|depriv|benefit", _Trait("means", "lower-income")),
    (r"middle.income", _Trait("means", "middle-income")),
    (r"high.income|affluen|wealth|rich\b", _Trait("means", "affluent")),
    (r"income|earning|wage|salar|spending", _Trait("means", "better-off", "lower-income")),
    (r"unemploy|jobseek|job seek|out of work", _Trait("work", "seeking work")),
    (
        r"(no|without|none)\b.*(qualif|certific|diploma|school|edu)|edu none",
        _Trait("work", "with little schooling"),
    ),
    (r"degree|bachelor|graduate|level 4|qual 4|university|tertiary", _Trait("work", "with degrees")),
    (r"manager|director|senior official", _Trait("work", "in management")),
    (r"associate professional|technician|assoc prof", _Trait("work", "in technical work")),
    (r"professional", _Trait("work", "in professional work")),
    (r"skilled trade|craft", _Trait("work", "in skilled trades")),
    (r"\bcaring\b|\bcare work", _Trait("work", "in caring work")),
    (r"part.time", _Trait("work", "working part time")),
    (r"full.time", _Trait("work", "working full time")),
    (r"elementary|unskilled|routine|manual|process|plant|machine|factory", _Trait("work", "in manual work")),
    (
        r"service work|\bsales\b|retail|clerical|administrat|secretar|office",
        _Trait("work", "in service work"),
    ),
    (r"farm|agricultur|fishing", _Trait("work", "in farming")),
    (r"home.?work|work\w* (from|at) home|telework|remote", _Trait("life", "working from home")),
    (r"commut|public transport|transit", _Trait("life", "who commute")),
    (r"broadband|internet", _Trait("life", "online", "offline")),
    (r"unpaid care|\bcarers?\b", _Trait("life", "with carers")),
    (r"veteran", _Trait("life", "with veterans")),
    (r"densit|per (square )?(km|kilomet|mile)", _Trait("place", "inner-city", "rural")),
    (r"\burban", _Trait("place", "urban", "rural")),
    (r"\brural", _Trait("place", "rural", "urban")),
)
_COMPILED = tuple((re.compile(pattern, re.IGNORECASE), trait) for pattern, trait in _LEXICON)
_AGE = re.compile(
    r"(?:aged?|years?)\W*(?P<under>under|below|<)?\W*(?P<low>\d{1,3})"
    r"(?:\s*(?:to|and|-|–|_)?\s*(?P<high>\d{1,3}|over|above|older|plus|\+|up))?",
    re.IGNORECASE,
)

# Order of the words around the noun: adjectives first, then the noun, then what it has.
_BEFORE: tuple[Slot, ...] = ("age", "means", "place")
_NOUNS: tuple[Slot, ...] = ("people", "tenure")
_AFTER: tuple[Slot, ...] = ("home", "work", "life")


def sensitive(text: str) -> bool:
    """Whether a label reads like a protected trait, flagged as one or not.

    Examples
    --------
    >>> sensitive("born abroad"), sensitive("renting privately"), sensitive("white-collar work")
    (True, False, False)
    """
    return bool(_SENSITIVE.search(text.replace("_", " ")))


def name_types(index: pd.DataFrame) -> dict[str, str]:
    """Give every type a short name of its own, from its strongest indices.

    Parameters
    ----------
    index : DataFrame
        As from :func:`~geomarket.neighbourhoods.index_table`.

    Returns
    -------
    dict of str to str
        Code to name. No two codes share one. Supergroups are named by how they differ from the average,
        lower levels first by how they differ from their parent. Protected traits, and labels that read like
        one, are never used.

    Notes
    -----
    At most one word group of each kind (age, means, home, people …) enters a name, strongest first; two types
    that would be called alike are told apart by their next features. What fewer than one in ten have is no name,
    however high its index. A type without a reliable index is called a small group. The same table gives the
    same names.

    Examples
    --------
    >>> table = pd.DataFrame({
    ...     "code": ["A", "A", "B", "B"], "level": "supergroup",
    ...     "variable": ["age_20_29", "rent"] * 2, "label": ["aged 20 to 29", "renting"] * 2,
    ...     "mean": [0.1, 0.2, 0.3, 0.6], "overall": [0.2, 0.4] * 2, "index": [50.0, 50.0, 150.0, 150.0],
    ...     "strength": [-1.0, -1.1, 1.0, 1.1], "parent_strength": [-1.0, -1.1, 1.0, 1.1],
    ...     "protected": False, "reliable": True, "unit": "share"})
    >>> name_types(table)["B"]
    'Young renters'
    """
    names: dict[str, str] = {}
    taken: set[str] = set()
    for code, rows in index.groupby("code", sort=False):
        if rows["reliable"].any():
            name = _first_free(_phrases(rows), taken, str(code))
        else:
            name = f"Small group {code}"
        names[str(code)] = name
        taken.add(name)
    return names


def portray_types(
    index: pd.DataFrame, types: pd.DataFrame, people: str = "people", features: int = 3
) -> dict[str, str]:
    """Describe every type in two or three sentences.

    Parameters
    ----------
    index : DataFrame
        As from :func:`~geomarket.neighbourhoods.index_table`.
    types : DataFrame
        code, population_share.
    people : str
        What the shares are of ("people", or "areas" where no population was given).
    features : int
        Most features named above, and below, the average.

    Returns
    -------
    dict of str to str
        Code to text. Protected variables are described only if they are in the index table.

    Examples
    --------
    >>> table = pd.DataFrame({
    ...     "code": ["A"], "variable": ["rent"], "label": ["renting"], "mean": [0.6], "overall": [0.3],
    ...     "index": [200.0], "strength": [1.5], "reliable": [True], "unit": ["share"]})
    >>> print(portray_types(table, pd.DataFrame({"code": ["A"], "population_share": [0.124]}))["A"])
    Home to 12% of people. Above average: renting (60%, index 200).
    """
    shares = dict(zip(types["code"], types["population_share"], strict=True))
    portraits = {}
    for code, rows in index.groupby("code", sort=False):
        good = rows[rows["reliable"] & (rows["strength"].abs() >= STRENGTH_GAP)]
        over = _strongest(good[good["index"] >= 100 + INDEX_GAP], features)
        under = _strongest(good[good["index"] <= 100 - INDEX_GAP], features)
        sentences = [f"Home to {_share(shares.get(code, np.nan))} of {people}."]
        if over:
            sentences.append(f"Above average: {over}.")
        if under:
            sentences.append(f"Below average: {under}.")
        if not over and not under:
            sentences.append("Close to the average on everything measured.")
        portraits[str(code)] = " ".join(sentences)
    return portraits


def _strongest(rows: pd.DataFrame, features: int) -> str:
    order = rows["strength"].abs().round(9).sort_values(ascending=False, kind="stable").index[:features]
    told = [
        f"{row.label} ({_figure(row.mean_, row.unit)}, index {row.index_:.0f})"
        for row in _rows(rows.loc[order])
    ]
    return told[0] if len(told) == 1 else ", ".join(told[:-1]) + (" and " + told[-1] if told else "")


def _rows(rows: pd.DataFrame) -> list:
    return list(rows.rename(columns={"mean": "mean_", "index": "index_"}).itertuples(index=False))


def _figure(value: float, unit: str) -> str:
    if unit == "share":
        return _share(value)
    if unit in ("€", "$", "£"):
        return f"{unit}{value:,.0f}"
    digits = 0 if abs(value) >= 100 else 1
    return f"{value:,.{digits}f} {unit}".strip()


def _share(value: float) -> str:
    percent = 100 * value
    return f"{percent:.0f}%" if percent >= 9.5 else f"{percent:.1f}%"


@dataclass(frozen=True)
class _Phrase:
    slot: Slot
    words: str


def _phrases(rows: pd.DataFrame) -> list[_Phrase]:
    """What may be said of a type, strongest first: differences from the parent, then from the average."""
    rows = rows[rows["reliable"] & ~rows["protected"].astype(bool)]
    rows = rows[(rows["index"] - 100).abs() >= INDEX_GAP]
    agrees = np.sign(rows["strength"]) == np.sign(rows["parent_strength"])
    told = rows["strength"].abs() >= STRENGTH_GAP
    first = rows[told & agrees & (rows["parent_strength"].abs() >= STRENGTH_GAP)]
    first = first.loc[
        first["parent_strength"].abs().round(9).sort_values(ascending=False, kind="stable").index
    ]
    rest = rows[told].drop(index=first.index)
    rest = rest.loc[rest["strength"].abs().round(9).sort_values(ascending=False, kind="stable").index]
    phrases: dict[_Phrase, None] = {}
    for row in _rows(pd.concat([first, rest])):
        trait = _trait(str(row.label), str(row.variable))
        if trait is None:
            continue
        words = trait.high if row.strength > 0 else trait.low
        share = row.mean_ if row.unit == "share" else row.mean_ / 100 if row.unit == "%" else 1.0
        if words and (row.strength < 0 or share >= NAME_SHARE):
            slot: Slot = trait.slot if row.strength > 0 or trait.slot in _BEFORE else "life"
            phrases.setdefault(_Phrase(slot, words))
    return list(phrases)


def _trait(label: str, variable: str) -> _Trait | None:
    text = f"{label} {variable.replace('_', ' ')}"
    if sensitive(text):
        return None
    age = _age_trait(text)
    if age is not None:
        return age
    for pattern, trait in _COMPILED:
        if pattern.search(text):
            return trait
    return None


def _age_trait(text: str) -> _Trait | None:
    found = _AGE.search(text)
    if found is None:
        return None
    low = float(found["low"])
    high = found["high"]
    upper = float(high) if high and high.isdigit() else (low + 15 if high else low)
    if found["under"]:
        low, upper = 0.0, low
    middle = (low + upper) / 2
    if middle < 16:
        return _Trait("people", "families")
    if middle < 40:
        return _Trait("age", "young")
    return _Trait("age", "mid-life" if middle < 60 else "older")


def _first_free(phrases: list[_Phrase], taken: set[str], code: str) -> str:
    """Name of the strongest features that nobody has yet; the code is added only when words run out."""
    before = _subsets([p for p in phrases if p.slot in _BEFORE])
    nouns: list[_Phrase | None] = [p for p in phrases if p.slot in _NOUNS]
    nouns = nouns or [None]
    after = [*(p for p in phrases if p.slot in _AFTER), None]
    rank = {phrase: place for place, phrase in enumerate(phrases)}
    builds = []
    for adjectives, noun, tail in itertools.product(before, nouns, after):
        used = [p for p in (*adjectives, noun, tail) if p is not None]
        if used:
            # three words groups at most; each one left out costs as much as the strength it ranks at
            cost = sum(rank[p] for p in used) + 3 * abs(len(used) - min(3, len(phrases))) + (noun is None)
            builds.append((cost, tuple(rank[p] for p in used), _compose(adjectives, noun, tail)))
    for _, _, name in sorted(builds):
        if name not in taken:
            return name
    plain = sorted(builds)[0][2] if builds else "Mixed households"
    return plain if plain not in taken else f"{plain} ({code})"


def _subsets(adjectives: list[_Phrase]) -> list[tuple[_Phrase, ...]]:
    """No adjective, one, or two of different kinds, in the order they are spoken."""
    pairs = [
        tuple(sorted(pair, key=lambda p: _BEFORE.index(p.slot)))
        for pair in itertools.combinations(adjectives, 2)
        if pair[0].slot != pair[1].slot
    ]
    return [(), *((p,) for p in adjectives), *pairs]


def _compose(adjectives: tuple[_Phrase, ...], noun: _Phrase | None, tail: _Phrase | None) -> str:
    words = [*(p.words for p in adjectives), noun.words if noun else "households"]
    text = " ".join([*words, tail.words] if tail else words)
    return text[0].upper() + text[1:]
