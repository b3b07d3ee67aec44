import inspect

from shared import errors


def test_every_exception_is_in_the_one_tree_and_in_its_drawing():
    found = [c for c in vars(errors).values() if inspect.isclass(c) and issubclass(c, BaseException)]
    assert len(found) >= 9
    for exception in found:
        assert issubclass(exception, errors.EbbtideError)
        assert exception.__name__ in errors.__doc__


def test_a_refusal_carries_its_code_and_no_other_text():
    refusal = errors.Refusal(errors.RefusalCode.CONSENT)
    assert refusal.code is errors.RefusalCode.CONSENT
    assert str(refusal) == "consent"
