"""kvae.utils.plugins: modules of other packages are found, imported and, when broken, named."""

import sys
import types
from importlib import metadata

import pytest

from kvae.utils import plugins
from kvae.utils.register import Register


@pytest.fixture
def announce(monkeypatch, tmp_path):
    """Returns a function that writes a module and announces it, as an entry point or by name."""
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(plugins, "_entry_points", plugins._entry_points.__wrapped__)
    modules = types.SimpleNamespace(register=Register("colour", group="kvae.colours"))
    monkeypatch.setitem(sys.modules, "colours", modules)

    def write(name, code, how):
        (tmp_path / f"{name}.py").write_text(f"import colours\n{code}")
        if how == "environment":
            monkeypatch.setenv(plugins.ENVIRONMENT, f" {name} ,")
        else:
            point = metadata.EntryPoint("mine", name, "kvae.colours")
            found = lambda group: metadata.EntryPoints([point]).select(group=group)  # noqa: E731
            monkeypatch.setattr(metadata, "entry_points", found)
        return modules.register

    yield write
    for name in ("plugin_a", "plugin_b"):
        sys.modules.pop(name, None)


@pytest.mark.parametrize("how", ["environment", "entry point"])
def test_what_a_plugin_registers_is_listed_and_found(announce, how):
    code = "colours.register.add('red', len)\nassert 'green' not in colours.register"
    register = announce("plugin_a", code, how)
    assert list(register) == ["red"] and len(register) == 1
    assert register["red"] is len and "red" in register


@pytest.mark.parametrize("how", ["environment", "entry point"])
def test_a_plugin_that_cannot_be_imported_is_named_with_who_named_it(announce, how):
    register = announce("plugin_b", "1 / 0", how)
    who = {"environment": "KVAE_PLUGINS", "entry point": "entry point 'mine' of kvae.colours"}[how]
    with pytest.raises(ImportError, match=f"module plugin_b, named by .*{who}.*division by zero"):
        register["red"]


def test_a_plugin_is_not_imported_for_a_name_that_is_there(announce):
    register = announce("plugin_b", "1 / 0", "environment")
    register.add("red", len)
    assert register["red"] is len and "red" in register


def test_a_plugin_of_another_group_is_left_alone(announce):
    announce("plugin_b", "1 / 0", "entry point")
    assert list(Register("shape", group="kvae.shapes")) == []
