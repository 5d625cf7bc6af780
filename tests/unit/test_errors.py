import inspect

import pytest

from simquery import errors


def test_every_exported_error_is_documented_with_its_exit_code() -> None:
    for name in errors.__all__:
        assert name in (errors.__doc__ or ""), name
        assert issubclass(getattr(errors, name), errors.SimqueryError)


def test_every_error_class_is_exported() -> None:
    defined = {name for name, value in vars(errors).items() if inspect.isclass(value) and issubclass(value, Exception)}
    assert defined == set(errors.__all__)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.SimqueryError, 1),
        (errors.SettingsError, 2),
        (errors.PictureError, 3),
        (errors.WeightsError, 4),
        (errors.SchemaError, 5),
        (errors.JavaError, 6),
    ],
)
def test_exit_codes_follow_the_branch_of_the_tree(error: type[errors.SimqueryError], code: int) -> None:
    assert error.exit_code == code
