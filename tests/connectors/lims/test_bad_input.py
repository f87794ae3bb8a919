"""What real interfaces do on the wire, phrase by phrase, and the test that shows what becomes of it here.

The table is for whoever asks "and what if a peer …?": it is held to name tests that exist.
"""

import importlib

import pytest

_HERE = "tests.connectors.lims."
_FRAMING, _LISTENER, _STREAM = _HERE + "test_framing", _HERE + "test_listener", _HERE + "test_stream"
_MESSAGE, _REAL, _ANSWERS, _SENDER, _ENHANCED, _LIMITS = (
    _HERE + f"test_{name}"
    for name in ("message", "real_interfaces", "answers", "sender", "sender_enhanced", "listener_limits")
)
_INBOX, _DOORS, _CUT = "tests.flows.intake.test_inbox", "tests.flows.intake.test_doors", "tests.faults.test_cut_wires"

SHOWN = {
    # Framing
    "VT ... FS CR": (_FRAMING, "test_frames_are_the_same_wherever_the_stream_is_cut"),
    "FS without CR": (_FRAMING, "test_a_careless_peer_is_understood"),
    "FS and NUL": (_FRAMING, "test_a_careless_peer_is_understood"),
    "no FS": (_FRAMING, "test_a_careless_peer_is_understood"),
    "no FS, and torn": (_FRAMING, "test_a_message_torn_by_the_next_is_counted_and_never_half_read"),
    "text before VT": (_FRAMING, "test_bytes_outside_frames_are_counted_but_probes_are_not"),
    "two frames in one segment": (_LISTENER, "test_pipelined_messages_are_answered_in_order"),
    "one frame in many": (_LISTENER, "test_a_message_cut_anywhere_is_kept_whole_or_not_at_all"),
    "LF or CRLF separators": (_MESSAGE, "test_segments_are_found_whatever_ends_them"),
    "LF separators at the door": (_LISTENER, "test_bad_input_is_kept_and_answered"),
    "blank lines": (_MESSAGE, "test_a_byte_order_mark_and_blank_lines_before_msh_are_no_part_of_it"),
    "missing last CR": (_MESSAGE, "test_a_message_needs_no_last_separator"),
    "BOM": (_LISTENER, "test_bad_input_is_kept_and_answered"),
    "half-open peer: its cable was pulled": (_LIMITS, "test_the_network_is_asked_whether_a_silent_peer_still_lives"),
    "half-open peer: it only listens": (_LISTENER, "test_a_peer_that_has_said_all_it_will_still_gets_its_answers"),
    "half-open peer: it never goes on": (_LIMITS, "test_a_slow_peer_is_closed_and_hurts_nobody"),
    "reset before the ACK": (_LISTENER, "test_a_peer_that_resets_before_its_answer_finds_its_message_kept"),
    "keep-alive byte probes": (
        _LIMITS,
        "test_bytes_that_only_ask_whether_we_are_there_are_answered_by_nothing_and_hurt_nothing",
    ),
    "all of it at once": (
        _STREAM,
        "test_every_message_is_answered_once_or_refused_with_a_reason_and_none_is_lost",
    ),
    # Text
    "MSH-18 empty but Latin-1": (_MESSAGE, "test_text_is_read_in_the_character_set_it_is_really_in"),
    "MSH-18 empty, and the settings know": (_DOORS, "test_the_character_set_of_one_peer_is_not_the_others"),
    "odd spellings of MSH-18": (_REAL, "test_a_name_is_read_whatever_msh_18_says_and_however_it_is_spelt"),
    "\\X..\\": (_REAL, "test_escapes_mean_what_they_say_and_lone_backslashes_stay"),
    "lone backslashes": (_MESSAGE, "test_no_run_of_backslashes_stops_the_reading"),
    "\\.br\\": (_REAL, "test_escapes_mean_what_they_say_and_lone_backslashes_stay"),
    "U+0000": (_MESSAGE, "test_text_is_read_in_the_character_set_it_is_really_in"),
    # Size
    "base64 of 1-20 MB in OBX-5": (_REAL, "test_a_large_report_is_read_whole_and_soon"),
    "5 MB in a frame": (_LISTENER, "test_bad_input_is_kept_and_answered"),
    "20 MB and more, framed": (_FRAMING, "test_thirty_megabytes_take_linear_time"),
    "5,000 OBX": (_REAL, "test_a_large_report_is_read_whole_and_soon"),
    "one 100 KB field": (_REAL, "test_a_large_report_is_read_whole_and_soon"),
    "larger than allowed": (_ANSWERS, "test_a_message_that_was_too_large_is_answered_with_both_sizes"),
    "endless": (_FRAMING, "test_an_endless_frame_does_not_grow_in_memory"),
    # Content
    "version blank, unknown or 2.5.1^DEU": (_REAL, "test_a_version_that_is_blank_or_unknown_changes_nothing"),
    "MSH-9 without structure": (_REAL, "test_msh_9_needs_no_structure"),
    "Z-segments anywhere": (_REAL, "test_z_segments_may_stand_anywhere_and_are_kept"),
    '"" is not empty': (_REAL, "test_what_must_go_is_not_what_is_not_said"),
    "placer and filler swapped": (_REAL, "test_placer_and_filler_may_be_swapped"),
    "accession in ORC-2/3/4, OBR-3, SPM-2 or SPM-30": (_REAL, "test_the_accession_may_stand_in_any_field"),
    "case;block;slide in OBR-2": (_REAL, "test_case_block_and_slide_may_be_one_text"),
    "slide path in OBR-13": (_REAL, "test_the_path_of_an_image_is_kept_as_it_is_said_and_nothing_more"),
    # Order
    "duplicate MSH-10, same content": (
        _INBOX,
        "test_the_same_bytes_get_the_first_answer_again_and_the_same_bytes_of_another_peer_do_not",
    ),
    "duplicate MSH-10, other content": (_DOORS, "test_a_restarted_count_of_control_ids_is_no_repeat"),
    "MSH-10 restarting daily": (_DOORS, "test_a_restarted_count_of_control_ids_is_no_repeat"),
    "resend after a lost ACK": (_CUT, "test_an_answer_cut_after_any_byte_is_given_again"),
    "any order of arrival": (
        "tests.flows.intake.test_confluence",
        "test_any_order_of_arrival_with_repeats_ends_the_same",
    ),
    "MSH-13 (its gaps change nothing: it is only a number)": (
        _HERE + "test_reading",
        "test_the_sequence_number_is_a_number_or_a_problem",
    ),
    "FHS/BHS batches": (
        _HERE + "test_check",
        "test_a_batch_is_checked_message_by_message_and_one_in_a_frame_is_refused_as_the_door_does",
    ),
    # ACK modes
    "original": (_ANSWERS, "test_enhanced_mode_obeys_msh_15_and_16_and_original_mode_does_not"),
    "enhanced: AL, NE, ER, SU": (_ANSWERS, "test_enhanced_mode_obeys_msh_15_and_16_and_original_mode_does_not"),
    "enhanced: both answers": (
        _LISTENER,
        "test_both_answers_of_enhanced_mode_come_in_frames_of_their_own_before_the_next_messages",
    ),
    "enhanced: CA is not the last word": (
        _ENHANCED,
        "test_a_commit_answer_is_not_the_last_word_in_enhanced_mode_and_both_are_kept",
    ),
    "a late ACK that belongs to another message": (
        _SENDER,
        "test_a_late_answer_is_never_taken_for_the_next_messages",
    ),
    "a late application ACK": (_ENHANCED, "test_a_late_application_answer_is_never_taken_for_the_next_messages"),
    "an ACK that never comes": (_SENDER, "test_a_silent_peer_is_not_waited_for_longer_than_allowed"),
    "an application ACK that never comes": (
        _ENHANCED,
        "test_an_application_that_never_answers_is_not_waited_for_longer_than_allowed",
    ),
}


@pytest.mark.parametrize("phrase", SHOWN)
def test_what_real_interfaces_do_is_shown_by_a_test(phrase: str) -> None:
    module, name = SHOWN[phrase]
    assert callable(getattr(importlib.import_module(module), name))
