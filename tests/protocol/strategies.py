"""What Hypothesis draws for the protocol tests, and one way to run it."""

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from djactors.protocol import MAX_ATTACHMENTS, RESERVED_EVENTS

# No deadline: the tests say nothing about time, and the machine may be busy.
thorough = settings(deadline=None, max_examples=200, suppress_health_check=[HealthCheck.too_slow])

# Everything UTF-8 can carry.
text = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
event_names = text.filter(lambda name: name not in RESERVED_EVENTS)
# Anything but a placeholder's own key.
keys = text.filter(lambda key: key != "_placeholder")
scalars = (
    st.none() | st.booleans() | st.integers(-(2**80), 2**80) | st.floats(allow_nan=False, allow_infinity=False) | text
)
json_values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4), max_leaves=12
)
values_with_bytes = st.recursive(
    scalars | st.binary(max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3),
    max_leaves=MAX_ATTACHMENTS,
)
namespaces = st.just("/") | st.from_regex(r"/[a-z0-9/?=_-]{1,20}", fullmatch=True)
ack_ids = st.none() | st.integers(0, 2**53)

# What a peer may write: anything at all, and things that start like packets.
wire_texts = (
    st.text(max_size=40)
    | st.from_regex(r"[0-7][0-9]{0,3}-?(/[a-z]{0,3},?)?[0-9]{0,3}[\[{\"a-z0-9:,}\]]{0,12}", fullmatch=True)
    | st.sampled_from(["40", "41", "0", "1", '2["a"]', '20["a",{}]', "30[]", "4{}", "0{}", "0/a", "1/a,", '2/a,["b"]'])
    | st.sampled_from(['51-["a",{"_placeholder":true,"num":0}]', '62-7[{"_placeholder":true,"num":1},{}]'])
)
wire_messages = wire_texts | st.binary(max_size=40)


@st.composite
def mutated(draw: st.DrawFn, valid: st.SearchStrategy[bytes]) -> bytes:
    """Valid bytes with a few cut out, doubled or overwritten."""
    data = bytearray(draw(valid))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(data)))
        length = draw(st.integers(0, 4))
        data[at : at + length] = draw(st.binary(max_size=4))
    return bytes(data)
