"""plan.toml: every mistake becomes a message that names the key and the cure."""

from __future__ import annotations

import json
import random
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geomarket.errors import GeomarketError, MissingDataError, SettingsError
from geomarket.market import PlanSettings, parse_settings, read_settings
from geomarket.market.plan_template import plan_toml
from geomarket.market.stage_settings import Section

AREA = '[[areas]]\nname = "a"\npath = "a.geojson"\nid = "id"\n'


def message(text: str) -> str:
    with pytest.raises(SettingsError) as caught:
        parse_settings(text)
    return str(caught.value)


def test_defaults_need_no_file_and_are_json_able():
    resolved = PlanSettings().resolved()
    assert json.loads(json.dumps(resolved)) == resolved
    assert resolved["quality"]["max_quarantine_share"] == 0.05
    assert resolved["neighbourhoods"]["levels"] == [6, 3]


def test_every_setting_has_a_sentence():
    def undocumented(model: type, path: str) -> list[str]:
        bare = []
        for name, field in model.model_fields.items():
            bare += [] if (field.description or "").strip() else [f"{path}.{name}"]
            inner = field.annotation
            if isinstance(inner, type) and issubclass(inner, Section):
                bare += undocumented(inner, f"{path}.{name}")
        return bare

    assert undocumented(PlanSettings, "plan.toml") == []


def test_values_of_every_type_are_read():
    plan = parse_settings(
        '[plan]\nname = "x"\nstart = 2024-01-01\n[hexes]\nresolution = 8\npoints = false\n'
        "[neighbourhoods]\nlevels = [4]\nweights = { income = 2 }\n"
        '[tables.sales]\npath = ["a.csv", "b.csv"]\ncolumns = { units = "Menge" }\n'
        + AREA
        + 'counts = ["people", { name = "homes", column = "h" }]\n'
    )
    assert plan.plan.start.isoformat() == "2024-01-01"
    assert plan.hexes.resolution == 8 and plan.hexes.points is False
    assert plan.neighbourhoods.levels == (4,) and plan.neighbourhoods.weights == {"income": 2.0}
    assert plan.tables.sales.paths == ("a.csv", "b.csv")
    assert [count.name for count in plan.areas[0].counts] == ["people", "homes"]


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("[privacy]\nkk = 3", ["plan.toml", "[privacy]", "unknown key 'kk'", "did you mean 'k'"]),
        ("[nieghbourhoods]\n", ["unknown section 'nieghbourhoods'", "did you mean 'neighbourhoods'"]),
        ("[tables.slaes]\npath = 'x'", ["[tables]", "'slaes'", "did you mean 'sales'"]),
        ("[engine]\nzzz = 1", ["[engine]", "'zzz'", "known are", "memory_limit"]),
        (
            AREA + 'rates = [{ name = "x", numerator = "a", denominatr = "b" }]',
            ["number 1", "did you mean 'denominator'"],
        ),
        ('[privacy]\nk = "ten"', ["[privacy]", "k is 'ten'", "a whole number"]),
        ("[plan]\nseed = 1.5", ["[plan]", "seed is 1.5", "a whole number"]),
        ("[plan]\nseed = true", ["seed is true", "a whole number"]),
        ("[hexes]\npoints = 1", ["points is 1", "true or false"]),
        ("[hexes]\nresolution = 'fine'", ["resolution is 'fine'", '"auto" or a whole number']),
        ("[neighbourhoods]\nlevels = [6, 'a']", ["item 2 of levels is 'a'", "a whole number"]),
        ("[plan]\nstart = 'soon'", ["start is 'soon'", "a date such as 2024-01-31"]),
        ("[quality]\nmax_quarantine_share = 5", ["max_quarantine_share is 5", "at most 1"]),
        ("[engine]\nmemory_limit = 'lots'", ["memory_limit is 'lots'", '"2GB"']),
        ("plan = 3", ["plan is 3", "a section"]),
        ("[tables.sales]\n", ["[tables.sales]", "path is missing"]),
        (
            "[tables.sales]\npath = 's.csv'\ncolumns = { unit = 'x' }",
            ["[tables.sales.columns]", "'unit'", "'units'"],
        ),
        ("[tables.sales]\npath = 's.csv'\ntimezone = 'Mars'", ["'Mars' is not a time zone", "Europe/Berlin"]),
        (
            "[tables.stores]\npath = 's.csv'\ncrs = 'wgs'",
            ["'wgs' is not a coordinate reference system", "EPSG:4326"],
        ),
        ("[tables.sales]\npath = 's.csv'\nencoding = 'ansi7'", ["'ansi7' is not an encoding", "cp1252"]),
        ('[tables.sales]\npath = "a\\u0000b"', ["[tables.sales]", "the name of a file"]),
        ("[plan]\nstart = 2024-02-01\nend = 2024-01-01", ["[plan]", "start (2024-02-01) must be before end"]),
        ("[customers]\nheavy_share = 0.8", ["[customers]", "at most 1"]),
        (
            "[assortment]\nmust_list = ['7']\nmust_not_list = ['7']",
            ["SKU 7 is in must_not_list and in must_list"],
        ),
        ("[promotions]\ndepths = [0.3, 0.1]", ["depths must rise"]),
        (AREA + AREA, ["layer a is named twice"]),
    ],
)
def test_mistakes_name_key_value_and_cure(text, parts):
    found = message(text)
    assert all(part in found for part in parts), found


def test_all_mistakes_are_named_at_once():
    found = message("[privacy]\nk = 'x'\n[hexes]\nresolutoin = 8")
    assert "k is 'x'" in found and "did you mean 'resolution'" in found


def test_a_syntax_error_names_the_line():
    assert "line 3" in message("[plan]\nname = 'x'\nseed =\n")


def test_a_file_that_is_not_there_names_the_cure(tmp_path):
    with pytest.raises(MissingDataError, match="geomarket new"):
        read_settings(tmp_path / "plan.toml")


def test_a_plan_that_is_not_utf8_is_refused(tmp_path):
    path = tmp_path / "plan.toml"
    path.write_bytes("[plan]\nname = 'Köln'".encode("cp1252"))
    with pytest.raises(SettingsError, match="UTF-8"):
        read_settings(path)


def test_a_byte_order_mark_and_windows_line_ends_are_fine(tmp_path):
    path = tmp_path / "plan.toml"
    path.write_bytes(b"\xef\xbb\xbf[privacy]\r\nk = 12\r\n")
    plan = read_settings(path)
    assert plan.privacy.k == 12 and plan.folder == tmp_path


def test_no_path_of_this_machine_is_in_the_resolved_settings(tmp_path):
    path = tmp_path / "plan.toml"
    path.write_text("[plan]\nname = 'x'")
    assert str(tmp_path) not in json.dumps(read_settings(path).resolved())


def test_every_default_in_the_template_is_the_default():
    """Uncomment every "# key = value" of the template: the settings stay what they are by default."""
    text = plan_toml({}, {}, {"name": "a", "path": "a.gpkg", "id": "id"})
    uncommented = re.sub(r"(?m)^# ((\[tables\.\w+\])|(\w+ = .+))$", r"\1", text)
    assert uncommented.count("\n#") < text.count("\n#") - 60
    resolved, defaults = parse_settings(uncommented).resolved(), PlanSettings().resolved()
    assert {key: value for key, value in resolved.items() if key not in ("tables", "areas")} == {
        key: value for key, value in defaults.items() if key not in ("tables", "areas")
    }
    for section, field in PlanSettings.model_fields.items():
        for key in getattr(field.annotation, "model_fields", {}):
            assert section == "tables" or re.search(rf"(?m)^(# )?{key} =", text), (section, key)


PLAN = plan_toml(
    {"plan": {"name": "x"}, "privacy": {"k": 10}, "neighbourhoods": {"levels": [4, 2]}},
    {"stores": {"path": "stores.csv", "columns": {"name": "Ort"}}, "sales": {"path": "s.parquet"}},
    {
        "name": "a",
        "path": "a.gpkg",
        "id": "id",
        "rates": [{"name": "r", "numerator": "n", "denominator": "d"}],
    },
)
SCRAPS = [
    "",
    "=",
    "[",
    "]",
    "[[",
    '"',
    "'",
    "\n",
    "\x00",
    "{",
    "1e999",
    "nan",
    "-0",
    "2024-13-01",
    "true",
    "é",
    "🦆",
    "#",
    "a.b",
    "inf",
]


@settings(max_examples=80, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), cuts=st.integers(1, 6), scrap=st.text(max_size=8))
def test_random_mutations_never_give_a_traceback(seed, cuts, scrap):
    rng = random.Random(seed)
    text = PLAN
    for _ in range(cuts):
        start = rng.randrange(len(text) + 1)
        end = min(len(text), start + rng.choice([0, 1, 3, 30]))
        text = text[:start] + rng.choice([*SCRAPS, scrap, text[end : end + 20]]) + text[end:]
    try:
        assert isinstance(parse_settings(text), PlanSettings)
    except GeomarketError as err:
        assert str(err).strip()


@settings(max_examples=80, deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.dates(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
        max_leaves=6,
    ),
    st.sampled_from(sorted(PlanSettings.model_fields)),
    st.data(),
)
def test_random_values_never_give_a_traceback(value, section, data):
    """Values of any type in any place, written as TOML."""
    model = PlanSettings.model_fields[section].annotation
    keys = sorted(getattr(model, "model_fields", {"path": None}))
    key = data.draw(st.sampled_from([*keys, "x"]))
    text = _toml(
        {section: {key: value} if section != "areas" else [{"name": "a", "path": "p", "id": "i", key: value}]}
    )
    try:
        assert isinstance(parse_settings(text), PlanSettings)
    except GeomarketError as err:
        assert "plan.toml" in str(err)


def _toml(value) -> str:
    return "\n".join(f"{key} = {_inline(item)}" for key, item in value.items())


def _inline(value) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(str(k))} = {_inline(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_inline, value)) + "]"
    if value is None:
        return '"none"'
    if isinstance(value, bool | str):
        return json.dumps(value)
    return value.isoformat() if hasattr(value, "isoformat") else str(value)
