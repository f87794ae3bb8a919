"""A case is divided among primary reads: each specimen to be read is in exactly one, whatever comes and goes."""

from dataclasses import dataclass, field, replace

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from flows.reads.parts import WHOLE, Part, Tissue, parts_of

OWN = "skin"
SUBSPECIALTIES = ("skin", "gynae", "neuro")
A, B, C = Tissue("a", "skin"), Tissue("b", "gynae"), Tissue("c", "gynae")


def scopes(*parts: Part) -> dict[str, frozenset[str] | None]:
    return {part.scope: part.specimens for part in parts}


def held(part: Part) -> Part:
    return replace(part, was=part.scope)


def test_a_case_that_is_not_split_has_one_read_of_all_of_it() -> None:
    assert parts_of((A, B), (), OWN, split=False) == (Part(WHOLE, OWN),)


def test_specimens_of_other_subspecialties_are_parts_of_their_own_the_cases_own_first() -> None:
    assert scopes(*parts_of((B, A, C), (), OWN, split=True)) == {"part 1": frozenset("a"), "part 2": frozenset("bc")}


def test_a_case_of_one_subspecialty_stays_whole_even_if_it_is_another_than_its_own() -> None:
    assert parts_of((B, C), (), OWN, split=True) == (Part(WHOLE, "gynae", frozenset("bc")),)


def test_a_whole_case_that_somebody_has_keeps_what_it_had_when_another_subspecialty_comes() -> None:
    whole = held(Part(WHOLE, OWN, frozenset("a")))
    kept, new = parts_of((A, B), (whole,), OWN, split=True)
    assert (kept.was, kept.scope, kept.specimens) == (WHOLE, "part 1", frozenset("a"))
    assert (new.was, new.scope, new.subspecialty, new.specimens) == (None, "part 2", "gynae", frozenset("b"))


def test_a_specimen_joins_the_part_of_its_subspecialty_that_somebody_has() -> None:
    gynae = held(Part("part 2", "gynae", frozenset("b")))
    assert scopes(*parts_of((A, B, C), (gynae,), OWN, split=True)) == {
        "part 1": frozenset("a"),
        "part 2": frozenset("bc"),
    }


def test_whoever_has_all_of_a_case_has_what_comes_to_it_too() -> None:
    whole = held(Part(WHOLE, OWN))
    assert parts_of((A, B), (whole,), OWN, split=True) == (whole,)


def test_a_part_of_which_everything_is_cancelled_is_over() -> None:
    gynae = held(Part("part 2", "gynae", frozenset("bc")))
    assert scopes(*parts_of((A,), (gynae,), OWN, split=True)) == {WHOLE: frozenset("a")}


def test_what_is_ordered_again_after_its_part_was_credited_is_a_part_of_its_own() -> None:
    assert scopes(*parts_of((B,), (), OWN, split=True, spoken_for=(WHOLE,))) == {"part 1": frozenset("b")}


def test_nobody_reads_again_what_is_reported() -> None:
    reported = replace(A, reported=True)
    assert scopes(*parts_of((reported, B), (), OWN, split=True)) == {"part 2": frozenset("b")}


@st.composite
def tissues(draw: st.DrawFn) -> tuple[Tissue, ...]:
    kinds = draw(st.lists(st.sampled_from(SUBSPECIALTIES), max_size=6))
    return tuple(Tissue(str(at), kind, draw(st.booleans())) for at, kind in enumerate(kinds))


@given(tissues(), st.randoms(use_true_random=False), st.booleans())
def test_the_order_in_which_specimens_are_known_changes_nothing(them: tuple[Tissue, ...], mixed, split: bool) -> None:  # type: ignore[no-untyped-def] # noqa: ANN001, FBT001 - random.Random
    shuffled = list(them)
    mixed.shuffle(shuffled)
    assert parts_of(shuffled, (), OWN, split=split) == parts_of(them, (), OWN, split=split)


@dataclass
class Read:
    """An open primary read as the rows have it."""

    part: Part
    is_held: bool = False


@dataclass
class Books:
    """A case with its specimens and its open primary reads."""

    tissues: dict[str, Tissue] = field(default_factory=dict)
    reads: list[Read] = field(default_factory=list)
    credited: set[str] = field(default_factory=set)
    ever: set[str] = field(default_factory=set)


class DividedCase(RuleBasedStateMachine):
    """Specimens come, go, change and are reported, reads are given and taken; the reads follow each time."""

    @initialize(split=st.booleans())
    def begin(self, split: bool) -> None:  # noqa: FBT001 - hypothesis gives it so
        self.case, self.split, self.number = Books(), split, 0
        self.follow()

    @rule(kind=st.sampled_from(SUBSPECIALTIES))
    def comes(self, kind: str) -> None:
        self.number += 1
        self.case.tissues[f"{self.number:03}"] = Tissue(f"{self.number:03}", kind)
        self.follow()

    @rule(which=st.integers(0, 9))
    def goes(self, which: int) -> None:
        for name in sorted(self.case.tissues)[which : which + 1]:
            del self.case.tissues[name]
        self.follow()

    @rule(which=st.integers(0, 9), kind=st.sampled_from(SUBSPECIALTIES))
    def turns_out_to_be(self, which: int, kind: str) -> None:
        for name in sorted(self.case.tissues)[which : which + 1]:
            self.case.tissues[name] = replace(self.case.tissues[name], subspecialty=kind)
        self.follow()

    @rule(which=st.integers(0, 9), reported=st.booleans())
    def is_reported(self, which: int, reported: bool) -> None:  # noqa: FBT001 - hypothesis gives it so
        for name in sorted(self.case.tissues)[which : which + 1]:
            self.case.tissues[name] = replace(self.case.tissues[name], reported=reported)
        self.follow()

    @rule(which=st.integers(0, 5), is_held=st.booleans())
    def changes_hands(self, which: int, is_held: bool) -> None:  # noqa: FBT001 - hypothesis gives it so
        for read in self.case.reads[which : which + 1]:
            read.is_held = is_held
        self.follow()

    @rule()
    def the_policy_changes(self) -> None:
        self.split = not self.split
        self.follow()

    def follow(self) -> None:
        """Do what the rows do: close what is reported, then divide the rest."""
        reported = {one.id for one in self.case.tissues.values() if one.reported}
        for read in list(self.case.reads):
            theirs = (read.part.specimens or frozenset()) & self.case.tissues.keys()
            if theirs and theirs <= reported:
                self.case.reads.remove(read)
                self.case.credited |= {read.part.scope} if read.is_held else set()
        theirs_already = {read.part.scope: read.part for read in self.case.reads if read.is_held}
        wanted = parts_of(
            [self.case.tissues[name] for name in sorted(self.case.tissues)],
            [held(part) for part in theirs_already.values()],
            OWN,
            split=self.split,
            spoken_for=self.case.credited,
            known=self.case.ever,
        )
        for part in wanted:
            if part.was is not None:
                before = theirs_already[part.was].specimens
                assert before is None or before & self.case.tissues.keys() <= (part.specimens or frozenset())
        self.case.reads = [Read(replace(part, was=None), part.was is not None) for part in wanted]
        self.case.ever |= {part.scope for part in wanted}

    @invariant()
    def each_specimen_is_in_exactly_one_open_primary_read(self) -> None:
        covers = [read.part.specimens for read in self.case.reads]
        for one in self.case.tissues.values():
            many = sum(specimens is None or one.id in specimens for specimens in covers)
            assert many == 1 or (one.reported and many == 0), one

    @invariant()
    def no_two_reads_go_by_one_scope(self) -> None:
        names = [read.part.scope for read in self.case.reads]
        assert len(set(names)) == len(names)
        assert len(names) <= 1 or WHOLE not in names
        assert not self.case.credited & set(names)


TestDividedCase = DividedCase.TestCase
