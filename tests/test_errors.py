"""The errors: exit status and wording that the command line counts on."""

import signal
import struct

import pytest

from edgekd import errors

MISTAKES = [
    errors.RecipeError,
    errors.DataError,
    errors.ModelError,
    errors.ShapeError,
    errors.NonFiniteError,
    errors.StorageError,
]


@pytest.mark.parametrize("kind", MISTAKES)
def test_a_users_mistake_exits_with_2_and_is_an_edgekd_error(kind):
    error = kind("what, expected, do")
    assert error.exit_code == 2
    assert isinstance(error, errors.EdgekdError)
    assert str(error) == "what, expected, do"


def test_a_shape_that_does_not_fit_is_a_fault_of_the_model():
    assert issubclass(errors.ShapeError, errors.ModelError)


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_stopped_work_exits_with_the_signals_status(number, status):
    error = errors.StoppedError("stopped after epoch 3", signal_number=number)
    assert error.exit_code == status
    assert isinstance(error, errors.EdgekdError)
    # One signal's status is not another error's.
    assert errors.EdgekdError.exit_code == 2


def test_an_unknown_name_is_answered_with_the_nearest_and_all_known_ones_sorted():
    message = errors.unknown_name("loss", "soft_logit", ["soft_logits", "attention_transfer"])
    assert message == ("unknown loss 'soft_logit'. Did you mean 'soft_logits'? Known: attention_transfer, soft_logits.")


def test_nothing_is_suggested_where_nothing_is_near():
    message = errors.unknown_name("loss", "zzz", ["soft_logits"])
    assert message == "unknown loss 'zzz'. Known: soft_logits."


def test_an_unknown_name_is_reported_even_if_it_is_no_string_or_nothing_is_known():
    assert errors.unknown_name("key", 3, []) == "unknown key 3. Known: none."


def test_what_a_terminal_would_obey_is_shown_instead():
    assert errors.printable("a\x1b[31mb\x07\nc\td\u00e9\u202e") == "a\\x1b[31mb\\x07\nc\td\u00e9\\u202e"


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ValueError("The model is not\n a valid buffer."), " (The model is not a valid buffer)"),
        (
            RuntimeError("[ONNXRuntimeError] : 7 : INVALID_PROTOBUF : Load model from /a b/m.onnx failed:Bad wire."),
            " (Bad wire)",
        ),
        (KeyError("inbound_nodes"), ""),
        (struct.error("unpack_from requires a buffer of at least 24600 bytes"), ""),
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"), ""),
        (ValueError(""), ""),
    ],
)
def test_of_what_libraries_say_only_words_for_people_are_passed_on(error: Exception, words: str) -> None:
    assert errors.said(error) == words


def test_the_class_of_an_exception_that_a_child_has_printed_is_left_out() -> None:
    line = "onnxruntime.capi.state.InvalidProtobuf: [ONNXRuntimeError] : 7 : INVALID_PROTOBUF : Load failed"
    assert errors.said_in(line) == " (Load failed)"
    assert errors.said_in("ValueError: no such thing") == " (no such thing)"
