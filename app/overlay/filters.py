"""Which annotations are shown: by class, by a word in the class's name, by confidence."""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Filter:
    """`off` are classes that are hidden and `only` is the one that is shown, "" for what has none.

    `text` is looked for in the names, whatever the case. What has no confidence passes every threshold: it says nothing
    against it.
    """

    off: frozenset[str] = frozenset()
    only: str | None = None
    text: str = ""
    confidence: float = 0.0

    def why_hidden(self, class_name: str | None, confidence: float | None) -> str | None:
        """The first reason that hides an annotation, in words; None when it is shown."""
        reason = self.why_class_hidden(class_name)
        if reason is None and confidence is not None and confidence < self.confidence:
            return BELOW
        return reason

    def why_class_hidden(self, class_name: str | None) -> str | None:
        name = class_name or ""
        if self.text and self.text.casefold() not in name.casefold():
            return UNMATCHED
        if name in self.off or (self.only is not None and name != self.only):
            return SWITCHED_OFF
        return None

    def hidden_classes(self, names: Iterable[str | None]) -> dict[str | None, str]:
        """Those of the classes that are hidden, each with the reason."""
        reasons = ((name, self.why_class_hidden(name)) for name in names)
        return {name: reason for name, reason in reasons if reason is not None}

    @property
    def key(self) -> str:
        """The same for the same filter, in every process."""
        return repr((sorted(self.off), self.only, self.text, self.confidence))

    def __bool__(self) -> bool:
        return bool(self.off or self.only is not None or self.text or self.confidence)


SWITCHED_OFF = "class switched off"
UNMATCHED = "class does not match the search"
BELOW = "below the confidence threshold"
