"""CallableEncoder on texts, and with it all that the base class of encoders does; it needs NumPy alone."""

import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from commonscale.core.errors import EncoderError, EncoderUnavailableError, InputRefusedError, InvalidInputError
from commonscale.core.errors import TruncationWarning as CutWarning
from commonscale.encoders import CallableEncoder, Encoder, EncodingOptions


def vector(text):
    return [len(text) + 1.0, text.count("a") - 0.5, 2.0]


def make(embed=None, **settings):
    calls = []

    def embed_text(texts):
        calls.append(list(texts))
        return [vector(text) for text in texts] if embed is None else embed(texts)

    settings.setdefault("options", EncodingOptions(batch_size=3))
    encoder = CallableEncoder(embed_text=embed_text, fingerprint="lengths-1", **settings)
    return encoder, calls


def unit(texts):
    rows = np.array([vector(text) for text in texts], dtype=np.float64).reshape(-1, 3)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=12), max_size=20), st.integers(1, 5))
def test_rows_belong_to_the_texts(texts, batch_size):
    encoder, calls = make(options=EncodingOptions(batch_size=batch_size))
    found = encoder.encode_texts(texts)
    assert found.shape == (len(texts), 3)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, unit(texts), atol=1e-6)
    if texts:
        assert all(len(call) <= batch_size for call in calls)


def test_it_is_an_encoder():
    encoder, _ = make()
    assert isinstance(encoder, Encoder)
    assert encoder.dimension == 3
    assert encoder.fingerprint == "lengths-1"
    assert repr(encoder) == "CallableEncoder(fingerprint='lengths-1')"


def test_batches_go_by_length_the_longest_first():
    encoder, calls = make()
    encoder.encode_texts(["a", "aaaa", "aa", "aaaaa", "aaa"])
    assert calls == [["aaaaa", "aaaa", "aaa"], ["aa", "a"]]


def test_questions_may_have_a_function_of_their_own():
    encoder, calls = make(embed_question=lambda texts: [[0.0, 1.0, 0.0] for _ in texts])
    assert encoder.encode_questions(["what?"]).tolist() == [[0, 1, 0]]
    assert calls == []


def test_functions_of_one_item():
    encoder = CallableEncoder(embed_text=vector, fingerprint="one", single=True)
    np.testing.assert_allclose(encoder.encode_texts(["ab", "c"]), unit(["ab", "c"]), atol=1e-6)


def test_no_function_for_a_role():
    encoder = CallableEncoder(embed_question=lambda texts: [vector(text) for text in texts], fingerprint="q")
    assert encoder.dimension == 3
    with pytest.raises(InvalidInputError, match="embeds no texts: give it embed_text="):
        encoder.encode_texts(["a"])
    with pytest.raises(InvalidInputError, match="needs embed_text=, embed_image= or both"):
        CallableEncoder(fingerprint="nothing")


@pytest.mark.parametrize("fingerprint", ["", None, 3])
def test_the_vectors_need_a_name(fingerprint):
    with pytest.raises(InvalidInputError, match="fingerprint must be a text"):
        CallableEncoder(embed_text=vector, fingerprint=fingerprint)


@pytest.mark.parametrize("setting", ["concurrency", "dimension", "max_tokens"])
@pytest.mark.parametrize("value", [0, -1, 1.5, True, "5"])
def test_whole_numbers(setting, value):
    with pytest.raises(InvalidInputError, match=f"{setting} must be a whole number"):
        CallableEncoder(embed_text=vector, fingerprint="x", **{setting: value})


@pytest.mark.parametrize("name", ["embed_text", "embed_image", "embed_question", "count_tokens"])
def test_functions_must_be_functions(name):
    with pytest.raises(InvalidInputError, match=f"{name} must be a function, got 'clip'"):
        CallableEncoder(**{"embed_text": vector, "fingerprint": "x", name: "clip"})


@pytest.mark.parametrize("options", [{}, 3, {"batch_size": 3}])
def test_options_must_be_options(options):
    with pytest.raises(InvalidInputError, match="options must be EncodingOptions"):
        CallableEncoder(embed_text=vector, fingerprint="x", options=options)


@pytest.mark.parametrize("wrong", [[[1.0, 2.0, 3.0], [1.0]], [["a"], ["b"]], iter([[1.0]]), [[1j], [1j]]])
def test_what_is_no_array_of_numbers(wrong):
    encoder, _ = make(lambda texts: wrong)
    with pytest.raises(InvalidInputError, match=r"embed_text gave what is no array of numbers, shape \(2, dimension\)"):
        encoder.encode_texts(["a", "b"])


@pytest.mark.parametrize("wrong", [[1.0, 2.0], [[1.0, 2.0]], [[[1.0]], [[2.0]]], [[1.0], [2.0]]])
def test_wrong_shapes(wrong):
    encoder, _ = make(lambda texts: wrong, dimension=3)
    with pytest.raises(InvalidInputError, match=r"shape .* for 2 texts; \(2, 3\) is needed"):
        encoder.encode_texts(["a", "b"])


def test_truncation_is_told_once_with_its_number():
    encoder, _ = make(max_tokens=3)
    with pytest.warns(CutWarning, match="2 of 3 texts are longer than the 3 characters .* longest has 5"):
        encoder.encode_texts(["aaaa", "a", "aaaaa"])
    counted, _ = make(max_tokens=2, count_tokens=lambda texts: [len(text.split()) for text in texts])
    assert counted.count_tokens(["a b c"]) == [3]
    assert counted.count_tokens([]) == []
    with pytest.warns(CutWarning, match="longer than the 2 tokens"):
        counted.encode_texts(["a b c"])


@pytest.mark.parametrize(
    ("counts", "reason"),
    [
        ([1, 1], "2 numbers for 4 texts"),
        ([1, 1, 1, 1, 1], "5 numbers for 4 texts"),
        (4, "'int' object is not iterable"),
        (None, "'NoneType' object is not iterable"),
        ([1, 1, 1.5, 1], "'float' object"),
        (["1", "1", "1", "1"], "'str' object"),
    ],
)
def test_counts_that_are_not_one_for_each_text(counts, reason):
    encoder, calls = make(count_tokens=lambda texts: counts)
    for method in (encoder.count_tokens, encoder.encode_texts, encoder.encode_questions):
        with pytest.raises(InvalidInputError, match=reason):
            method(["a", "b", "c", "d"])
    assert calls == []


@pytest.mark.parametrize("kind", [list, tuple, np.array])
def test_counts_of_any_sequence(kind):
    encoder, _ = make(count_tokens=lambda texts: kind([len(text) for text in texts]))
    assert encoder.count_tokens(["a", "bcd"]) == [1, 3]


def test_long_lists_are_measured_in_parts():
    parts = []

    def count(texts):
        parts.append(len(texts))
        return [len(text) for text in texts]

    encoder, calls = make(count_tokens=count, max_tokens=4, options=EncodingOptions(batch_size=1000))
    texts = [str(number) for number in range(10_001)]
    with pytest.warns(CutWarning, match="1 of 10001 texts") as caught:
        found = encoder.encode_texts(texts)
    assert len(caught) == 1
    assert max(parts) <= 1000
    assert sum(parts) == 10_001
    assert calls[0][0] == "10000"
    np.testing.assert_allclose(found, unit(texts), atol=1e-6)


@pytest.mark.parametrize("single", ["text", b"text", None, 3, np.array("text")])
@pytest.mark.parametrize("counted", [False, True])
def test_one_string_is_no_list(single, counted):
    encoder, calls = make(count_tokens=(lambda texts: [1 for _ in texts]) if counted else None)
    methods = (encoder.encode_texts, encoder.encode_questions, encoder.encode_texts_reporting, encoder.count_tokens)
    for method in methods:
        with pytest.raises(InvalidInputError, match=r"\(\) needs a list of strings, got"):
            method(single)
    assert calls == []


@pytest.mark.parametrize("counted", [False, True])
def test_arrays_of_strings(counted):
    encoder, _ = make(count_tokens=(lambda texts: [len(text) for text in texts]) if counted else None)
    assert encoder.count_tokens(np.array(["a", "bcd"])) == [1, 3]
    np.testing.assert_allclose(encoder.encode_texts(np.array(["a", "bcd"])), unit(["a", "bcd"]), atol=1e-6)


@pytest.mark.parametrize(
    ("bad", "reason"), [(None, "of type NoneType"), (b"a", "of type bytes"), ("a\ud800", "no valid Unicode")]
)
def test_items_that_are_no_texts(bad, reason):
    encoder, calls = make()
    with pytest.raises(InvalidInputError, match=reason):
        encoder.encode_texts(["fine", bad])
    assert calls == []
    batch = encoder.encode_texts_reporting(["fine", bad, "good"])
    assert batch.kept == (0, 2)
    (failure,) = batch.failures
    assert failure.index == 1
    assert reason in failure.reason
    assert failure.description == repr(bad)
    np.testing.assert_allclose(batch.vectors, unit(["fine", "good"]), atol=1e-6)


# --- bad vectors


def bad_for(words, row):
    return lambda texts: [row if text in words else vector(text) for text in texts]


@pytest.mark.parametrize("row", [[np.nan, 1, 1], [np.inf, 1, 1], [0, 0, 0]])
def test_one_bad_vector_leaves_the_others(row):
    encoder, _ = make(bad_for({"bbb"}, row))
    batch = encoder.encode_texts_reporting(["a", "bbb", "cc", "dddd"])
    assert batch.kept == (0, 2, 3)
    assert [failure.index for failure in batch.failures] == [1]
    assert "norm zero, or with NaN" in batch.failures[0].reason
    np.testing.assert_allclose(batch.vectors, unit(["a", "cc", "dddd"]), atol=1e-6)
    with pytest.raises(EncoderError, match="Text 1, 'bbb': the model gave it a vector of norm zero, or with NaN"):
        encoder.encode_texts(["a", "bbb", "cc", "dddd"])


def test_the_first_bad_item_of_a_batch_is_named():
    encoder, _ = make(bad_for({"b", "bbb"}, [0, 0, 0]))
    with pytest.raises(EncoderError, match="Text 1, 'b': "):
        encoder.encode_texts(["a", "b", "bbb"])
    with pytest.raises(EncoderError, match="Text 0, 'b': "):
        encoder.encode_questions(["b", "bbb"])


@pytest.mark.parametrize("row", [[1e-200, 0, 0], [1e200, 0, 0]])
def test_norms_that_float64_cannot_hold_are_of_their_item(row):
    encoder, _ = make(bad_for({"bbb"}, row))
    assert encoder.encode_texts_reporting(["a", "bbb", "cc"]).kept == (0, 2)


def test_bad_vectors_that_share_a_batch_leave_the_others():
    encoder, calls = make(bad_for({""}, [0, 0, 0]), options=EncodingOptions(batch_size=4))
    texts = ["", *(str(number) for number in range(92)), *[""] * 7]
    batch = encoder.encode_texts_reporting(texts)
    assert [""] * 4 in calls
    assert [failure.index for failure in batch.failures] == [0, *range(93, 100)]
    np.testing.assert_allclose(batch.vectors, unit(texts[1:93]), atol=1e-6)


def test_bad_vectors_alone_are_a_broken_model():
    encoder, calls = make(lambda texts: np.zeros((len(texts), 3)))
    with pytest.raises(EncoderError, match="no text a vector that can be used: those of 2 have norm zero"):
        encoder.encode_texts_reporting(["a", "b"])
    assert encoder.encode_texts_reporting(["a"]).failures[0].index == 0
    calls.clear()
    with pytest.raises(EncoderError, match="no text a vector that can be used"):
        encoder.encode_texts_reporting(["a"] * 10_000)
    assert len(calls) < 100  # it does not go through everything first


@pytest.mark.parametrize("concurrency", [1, 3])
def test_vectors_of_several_lengths(concurrency):
    def embed(texts):
        return np.ones((len(texts), len(texts[0])))

    texts = ["aaa"] * 3 + ["aa"] * 3 + ["a"] * 3
    encoder, _ = make(embed, concurrency=concurrency)
    with pytest.raises(InvalidInputError, match=r"\(3, \d\) is needed.*vectors of another length"):
        encoder.encode_texts(texts)
    # Other encoders are not asked for their shapes before their vectors come together.
    encoder._embed_texts = lambda prepared, role: embed(prepared)
    with pytest.raises(EncoderError, match=r"of \d and of \d numbers in one call"):
        encoder.encode_texts(texts)


def test_one_encoder_is_one_space():
    encoder = CallableEncoder(
        embed_text=lambda texts: np.ones((len(texts), 3)),
        embed_question=lambda texts: np.ones((len(texts), 2)),
        fingerprint="two spaces",
    )
    assert encoder.encode_texts(["a"]).shape == (1, encoder.dimension)
    with pytest.raises(InvalidInputError, match=r"\(1, 3\) is needed.*need an encoder of their own"):
        encoder.encode_questions(["a"])


# --- services


@given(st.sets(st.integers(0, 11)), st.integers(1, 6), st.sampled_from([1, 3]))
def test_refused_items_are_found_by_halving(refused, batch_size, concurrency):
    texts = [f"text {number:02}" for number in range(12)]

    def embed(batch):
        if any(int(text[-2:]) in refused for text in batch):
            raise InputRefusedError("the service refuses it")
        return [vector(text) for text in batch]

    encoder, _ = make(embed, options=EncodingOptions(batch_size=batch_size), concurrency=concurrency, dimension=3)
    batch = encoder.encode_texts_reporting(texts)
    assert [failure.index for failure in batch.failures] == sorted(refused)
    assert list(batch.kept) == [row for row in range(12) if row not in refused]
    np.testing.assert_allclose(batch.vectors, unit(batch.pick(texts)), atol=1e-6)
    if refused:
        with pytest.raises(InputRefusedError, match=r"^Text \d+, 'text \d\d': the service refuses it$") as caught:
            encoder.encode_texts(texts)
        assert int(str(caught.value).split(",")[0][5:]) in refused


def test_a_service_that_is_down_is_never_only_reported():
    def embed(batch):
        raise EncoderUnavailableError("no answer")

    encoder, _ = make(embed)
    with pytest.raises(EncoderUnavailableError):
        encoder.encode_texts_reporting(["a"])


def test_batches_in_flight_at_once():
    both = threading.Barrier(2, timeout=10)

    def embed(texts):
        both.wait()
        return [vector(text) for text in texts]

    encoder, calls = make(embed, concurrency=2)
    texts = ["a", "aa", "aaa", "aaaa", "aaaaa", "aaaaaa"]
    np.testing.assert_allclose(encoder.encode_texts(texts), unit(texts), atol=1e-6)
    assert len(calls) == 2


def test_an_error_ends_the_threads():
    def embed(texts):
        raise RuntimeError("out of memory")

    encoder, _ = make(embed, concurrency=3)
    before = threading.active_count()
    with pytest.raises(RuntimeError, match="out of memory"):
        encoder.encode_texts([str(number) for number in range(100)])
    assert threading.active_count() == before
