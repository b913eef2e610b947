# SPDX-License-Identifier: Apache-2.0

"""conf: our options beside Nova's."""

import pathlib

import pytest
from oslo_config import cfg

from sev_driver.conf import opts, stock_nova
from sev_driver.conf import policy as policy_options
from sev_driver.domain.launch_security import Policies
from sev_driver.exceptions import ConfigurationError
from sev_driver.model import SEV, SEV_ES, SEV_SNP, MemoryEncryptionModel
from sev_driver.nova_release import NovaRelease

NAME = "num_memory_encrypted_guests"


def test_registered_where_nova_has_dropped_it() -> None:
    options = cfg.ConfigOpts()
    opts.register_opts(options)
    opts.register_opts(options)
    options([])
    assert options.libvirt[NAME] is None


def test_novas_own_is_left_alone() -> None:
    options = cfg.ConfigOpts()
    nova = cfg.IntOpt(NAME, default=7, min=0, help="Nova's own words")
    options.register_opt(nova, group="libvirt")
    opts.register_opts(options)
    options([])
    assert options.libvirt[NAME] == 7


def test_a_negative_number_is_refused() -> None:
    options = cfg.ConfigOpts()
    opts.register_opts(options)
    options([])
    with pytest.raises(ValueError):
        options.set_override(NAME, -1, group="libvirt")


def test_every_option_says_what_it_does() -> None:
    for _group, options in opts.list_opts():
        for option in options:
            assert "Possible values:" in option.help
            assert "Related options:" in option.help


def from_file(folder: pathlib.Path, text: str) -> cfg.ConfigOpts:
    """Return the options as nova.conf sets them."""
    path = folder / "nova.conf"
    path.write_text(f"[sev]\n{text}\n")
    options = cfg.ConfigOpts()
    opts.register_opts(options)
    options(["--config-file", str(path)])
    return options


def test_the_policies_are_novas_by_default(tmp_path: pathlib.Path) -> None:
    assert policy_options.policies(from_file(tmp_path, "")) == Policies()


def test_policies_by_number_and_by_name(tmp_path: pathlib.Path) -> None:
    text = "sev_policy = 0x3b\nsnp_policy = SMT|SINGLE_SOCKET"
    policies = policy_options.policies(from_file(tmp_path, text))
    assert policies.sev.format() == "0x003b"
    assert policies.snp.format() == "0x00130000"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("sev_policy = 0x73", "sev_policy.*sets reserved bits"),
        ("snp_policy = 0x10000", "snp_policy.*lacks 0x20000"),
        ("sev_es_policy = NODBG|NOSUCH", "sev_es_policy.*'NOSUCH' is not a bit"),
        ("sev_policy = 0x32", "sev_policy is 0x0032, which allows the host to debug"),
    ],
)
def test_a_policy_that_cannot_be_is_named(
    text: str, words: str, tmp_path: pathlib.Path
) -> None:
    with pytest.raises(ConfigurationError, match=words):
        policy_options.policies(from_file(tmp_path, text))


@pytest.mark.parametrize(
    ("group", "option"),
    [
        (group, option)
        for group, options in opts.list_opts()
        for option in options
        if not isinstance(option, cfg.StrOpt)
    ],
    ids=lambda value: getattr(value, "name", value),
)
def test_a_wrong_value_of_any_option_is_found_at_the_start(
    group: str, option: cfg.Opt, tmp_path: pathlib.Path
) -> None:
    path = tmp_path / "wrong.conf"
    path.write_text(f"[{group}]\n{option.name} = -3\n")
    options = cfg.ConfigOpts()
    opts.register_opts(options)
    options(["--config-file", str(path)])
    with pytest.raises((cfg.ConfigFileValueError, ConfigurationError)) as wrong:
        opts.check_values(options)
    assert f"{option.name} from" in str(wrong.value)


def test_right_values_are_no_obstacle(tmp_path: pathlib.Path) -> None:
    text = "audit_interval = 0\nprometheus_textfile = /var/lib/x.prom"
    opts.check_values(from_file(tmp_path, text))


@pytest.mark.parametrize(
    ("options", "release", "models", "on_root"),
    [
        ({}, 31, None, False),
        ({}, 34, None, False),
        ({"prepare_for_stock_nova": True}, 31, {SEV}, True),
        ({"prepare_for_stock_nova": True}, 32, {SEV, SEV_ES}, False),
        ({"prepare_for_stock_nova": True}, 34, {SEV, SEV_ES, SEV_SNP}, False),
        ({"slots_on_root_provider": True}, 31, {SEV}, True),
        ({"slots_on_root_provider": True}, 34, {SEV}, True),
    ],
)
def test_preparation_for_stock_nova(
    options: dict[str, bool],
    release: int,
    models: set[MemoryEncryptionModel] | None,
    on_root: bool,
) -> None:
    config = cfg.ConfigOpts()
    opts.register_opts(config)
    config([])
    for name, value in options.items():
        config.set_override(name, value, group="sev")
    expected = None if models is None else frozenset(models)
    found = stock_nova.preparation(config, NovaRelease(release))
    assert found == stock_nova.Preparation(expected, on_root)
