"""A policy file is read in three syntaxes, and whatever cannot be read is one clear error."""

import json

import pytest
from policies import DESIGN_YAML, refused, written

from langroute.bounds import MAX_BYTES, MAX_VALUES
from langroute.policy import Policy

YAML = (
    "tiers: {small: 'openai:a', large: ['openai:b', 'openai:c']}\nsteps: {plan: {cascade: large, why: no}}\n"
)
TOML = """\
tiers = {small = "openai:a", large = ["openai:b", "openai:c"]}
[steps.plan]
cascade = "large"
why = "no"
"""
JSON = json.dumps(
    {
        "tiers": {"small": "openai:a", "large": ["openai:b", "openai:c"]},
        "steps": {"plan": {"cascade": "large", "why": "no"}},
    }
)


def test_the_same_policy_in_three_syntaxes_is_the_same_policy(tmp_path):
    files = [("p.yaml", YAML), ("p.yml", YAML), ("p.toml", TOML), ("p.json", JSON)]

    digests = {Policy.load(written(tmp_path, text, name)).digest for name, text in files}

    assert len(digests) == 1


def test_the_designs_example_loads_as_written(tmp_path):
    policy = Policy.load(str(written(tmp_path, DESIGN_YAML)))

    assert policy.tier_order == ("small", "large")
    assert [v.name for v in policy.step("synthesis").verify] == ["citations", "no_refusal", "confidence"]
    assert policy.step("never heard of") is policy.default


def test_yaml_words_dates_and_numbers_are_read_as_yaml_1_2_reads_them(tmp_path):
    plain = "{a: no, b: 2025-01-01, c: 0777, d: 1e3, e: ~, f: +5, g: 0x1F, h: .5, i: 1_000, j: 1:30, k: '7'}"
    text = f"tiers: {{s: {{models: [{{model: 'o:x', settings: {plain}}}]}}}}"

    settings = Policy.load(written(tmp_path, text)).tiers["s"].models[0].settings

    words = {"a": "no", "b": "2025-01-01", "g": "0x1F", "i": "1_000", "j": "1:30", "k": "7"}
    assert settings == words | {"c": 777, "d": 1000.0, "e": None, "f": 5, "h": 0.5}


@pytest.mark.parametrize(("name", "text"), [("p.yaml", YAML), ("p.toml", TOML), ("p.json", JSON)])
def test_a_byte_order_mark_is_read_over(tmp_path, name, text):
    assert Policy.load(written(tmp_path, b"\xef\xbb\xbf" + text.encode(), name)).digest


def test_anchors_and_aliases_may_save_writing(tmp_path):
    text = "tiers: {s: 'openai:a', l: 'openai:b'}\nsteps: {a: &same {cascade: [s, l]}, b: *same}"

    policy = Policy.load(written(tmp_path, text))

    assert policy.step("a") == policy.step("b")


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("p.yaml", "tiers:\n  small: [openai:a\n", "not YAML at line 3, column 1"),
        ("p.toml", "[tiers]\nsmall = \n", "not TOML: Invalid value (at line 2, column 9)"),
        ("p.toml", "tiers = {", "at line 1, column 10, the end"),
        ("p.json", '{"tiers":\n {,}}', "not JSON at line 2, column 3"),
        ("p.yaml", "", "holds nothing"),
        ("p.json", "  \n", "holds nothing"),
        ("p.toml", "# nothing\n", "holds nothing"),
        ("p.yaml", "- a\n- b\n", "['a', 'b']: not a mapping"),
        ("p.json", "7", "7: not a mapping"),
        ("p.yaml", "a: 1\n---\nb: 2\n", "a second document begins on line 2"),
        ("p.yaml", b"a: \xff", "not UTF-8 at line 1, column 4"),
        ("p.toml", b"\xff\xfea\x00", "not UTF-8 at line 1, column 1"),
        ("p.yaml", "a: x\x00y", "U+0000 at line 1, column 5"),
        ("p.json", '{"a": "\\u0000"}', "holds characters that cannot be printed"),
        ("p.json", '{"a": "\\ud800"}', "holds characters that cannot be printed"),
        ("p.yaml", "a: !!binary aGk=", "the tag 'tag:yaml.org,2002:binary' on line 1 is not read"),
        ("p.yaml", "a: !!python/object/apply:os.system [ls]", "is not read"),
        ("p.yaml", "a: &x {b: 1}\nc: {<<: *x}", "merge keys are not read, line 2"),
        ("p.yaml", "a: *nobody", "the alias `*nobody` on line 1 stands for nothing"),
        ("p.yaml", "a: &x [*x]", "the alias `*x` on line 1 stands for nothing"),
        ("p.yaml", "a: {1: x}", "the key on line 1 is not text"),
        ("p.yaml", "? [a, b]\n: x", "the key on line 1 is not text"),
        ("p.yaml", "? " * 5_000, "nested too deeply on line 1"),
        ("p.yaml", "a: .nan", "a = NaN: not a finite number"),
        ("p.json", '{"a": Infinity}', "a = Infinity: not a finite number"),
        ("p.json", '{"a": 1e999}', "a = Infinity: not a finite number"),
        ("p.toml", "a = [1, inf]", "a[1] = Infinity: not a finite number"),
        ("p.yaml", "a: 99999999999999999999", "too large a number"),
        ("p.json", '{"a": ' + "9" * 5_000 + "}", "a number of thousands of digits"),
        ("p.toml", "a = " + "9" * 5_000, "a number of thousands of digits"),
        ("p.yaml", "a: " + "9" * 5_000, "too large a number on line 1"),
        ("p.toml", "a = 2025-01-01T10:00:00", "a time has no place in a policy"),
        ("p.yaml", "a: " + "[" * 100, "nested too deeply on line 1"),
        ("p.json", '{"a": ' + "[" * 50 + "]" * 50 + "}", "nested deeper than 32 levels"),
        ("p.json", "[" * 100_000, "nested too deeply"),
        ("p.toml", "a = " + "[" * 50_000, "nested too deeply"),
        ("p.toml", "a." * 60_000 + "b = 1", "more than 32 dotted parts at line 1, column 1"),
        ("p.yaml", "#" * (MAX_BYTES + 1), f"larger than {MAX_BYTES:,} bytes"),
        ("p.ini", "[tiers]", "the suffix '.ini' does not say"),
        ("policy", "tiers:", "the suffix '' does not say"),
    ],
)
def test_what_cannot_be_read_is_one_error_that_names_the_file(tmp_path, name, text, says):
    error = refused(written(tmp_path, text, name))

    assert says in str(error)
    assert str(tmp_path / name) in str(error)


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        (
            "p.yaml",
            "tiers:\n  a: 'o:x'\n  b: 'o:y'\n  a: 'o:z'\n",
            "tiers.a: the key is written more than once, on line 2",
        ),
        (
            "p.json",
            '{"tiers": {"a": 1, "a": 2, "a": 3}}',
            "tiers.a: the key is written more than once, 3 times",
        ),
        ("p.json", '{"rules": [{}, {"a": 1, "a": 2}]}', "rules[1].a: the key is written more than once"),
        ("p.toml", "a = 1\na = 2\n", "the key `a` is written more than once (at line 2"),
        ("p.toml", "[t.a]\n[t.a]\n", "the key `t.a` is written more than once (at line 2"),
        ("p.toml", "t = {b = 1, b = 2}\n", "the key `b` is written more than once (at line 1"),
        ("p.toml", "a = 1\na.b = 2\n", "not TOML: Cannot overwrite a value (at line 2"),
    ],
)
def test_a_key_that_is_written_twice_is_refused(tmp_path, name, text, says):
    assert says in str(refused(written(tmp_path, text, name)))


def test_aliases_that_stand_for_billions_are_refused(tmp_path):
    lines = ["a0: &a0 [x, x]", *(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12))]

    assert f"more than {MAX_VALUES:,} values" in str(refused(written(tmp_path, "\n".join(lines))))


def test_of_very_many_faults_the_first_hundred_are_told(tmp_path):
    error = refused(written(tmp_path, "a: 1\n" * 5_000))

    assert len(error.problems) <= 101
    assert "more than 100 problems were found" in str(error)


def test_what_the_system_will_not_open_is_refused(tmp_path):
    path = tmp_path / ("x" * 300 + ".yaml")

    assert "File name too long" in str(refused(path))


def test_a_directory_a_missing_file_and_a_device_are_refused(tmp_path):
    (tmp_path / "folder.yaml").mkdir()
    (tmp_path / "null.yaml").symlink_to("/dev/zero")

    assert "is a directory" in str(refused(tmp_path / "folder.yaml"))
    assert "there is no such file" in str(refused(str(tmp_path / "absent.yaml")))
    assert "not a regular file" in str(refused(tmp_path / "null.yaml"))
    assert "there is no such file" in str(refused("a\x00b.yaml"))


@pytest.mark.parametrize("source", [None, 7, [], b"tiers: {}"])
def test_what_is_neither_path_nor_mapping_nor_policy_is_refused(source):
    assert "not something a policy can be read from" in str(refused(source))
