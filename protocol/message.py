"""What every message is made of: the base class, the kinds of its fields.

A message is a msgpack map whose ``type`` names it. Texts travel as msgpack *bin* holding UTF-8, so that the broker
passes them on unchanged. SPEC.md, section "Wire protocol", says the same in prose for writers of other clients.
"""

from typing import Annotated, Literal, get_args

import msgspec
from msgspec import Meta

RequestClass = Literal["interactive", "bulk"]
REQUEST_CLASSES: tuple[RequestClass, ...] = get_args(RequestClass)
RequestId = Annotated[bytes, Meta(min_length=1, max_length=64)]
Count = Annotated[int, Meta(ge=0)]
Milliseconds = Annotated[float, Meta(ge=0)]


class Message(msgspec.Struct, frozen=True, tag_field="type", gc=False):
    """The base of all messages; the tag on the wire is the ``tag=`` of each class."""
