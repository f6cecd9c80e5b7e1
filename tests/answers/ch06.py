"""Plausible wrong answers to the exercises of chapter 6, each with a piece of the hint meant for it."""

import torch


def _sharpen_not_normalised(probs, temperature):
    return probs ** (1 / temperature)


def _sharpen_upside_down(probs, temperature):
    powers = probs**temperature
    return powers / powers.sum(-1, keepdim=True)


def _sharpen_as_logits(probs, temperature):
    return (probs / temperature).softmax(-1)


def _sharpen_by_division(probs, temperature):
    scaled = probs / temperature
    return scaled / scaled.sum(-1, keepdim=True)


def _draw_beyond_the_end(probs, u):
    return (probs.cumsum(-1) <= u[:, None]).sum(-1)


def _draw_at_the_edge(probs, u):
    return (probs.cumsum(-1) < u[:, None]).sum(-1)


def _draw_one_too_far(probs, u):
    return (probs.cumsum(-1) <= u[:, None]).sum(-1) + 1


def _draw_from_row_0(probs, u):
    return (probs[:1].cumsum(-1) <= u[:, None]).sum(-1)


def _draw_the_likeliest(probs, u):
    return probs.argmax(-1)


def _min_p_absolute(logits, min_p):
    return logits.masked_fill(logits.softmax(-1) < min_p, float("-inf"))


def _min_p_to_zero(logits, min_p):
    probs = logits.softmax(-1)
    return logits.masked_fill(probs < min_p * probs.max(-1, keepdim=True).values, 0.0)


def _min_p_whole_batch(logits, min_p):
    probs = logits.softmax(-1)
    return logits.masked_fill(probs < min_p * probs.max(), float("-inf"))


def _min_p_in_place(logits, min_p):
    probs = logits.softmax(-1)
    return logits.masked_fill_(probs < min_p * probs.max(-1, keepdim=True).values, float("-inf"))


def _min_p_probabilities(logits, min_p):
    probs = logits.softmax(-1)
    return probs.masked_fill(probs < min_p * probs.max(-1, keepdim=True).values, float("-inf"))


def _min_p_of_logits(logits, min_p):
    return logits.masked_fill(logits < min_p * logits.max(-1, keepdim=True).values, float("-inf"))


def _penalise_by_division(logits, ids, penalty):
    return logits.scatter(1, ids, logits.gather(1, ids) / penalty)


def _penalise_each_time(logits, ids, penalty):
    logits = logits.clone()
    for row, text in enumerate(ids.tolist()):
        for token in text:
            logits[row, token] *= 1 / penalty if logits[row, token] > 0 else penalty
    return logits


def _penalise_all_rows(logits, ids, penalty):
    logits = logits.clone()
    for token in ids.unique():
        column = logits[:, token]
        logits[:, token] = torch.where(column > 0, column / penalty, column * penalty)
    return logits


def _penalise_in_place(logits, ids, penalty):
    seen = logits.gather(1, ids)
    return logits.scatter_(1, ids, torch.where(seen > 0, seen / penalty, seen * penalty))


def _penalise_everything(logits, ids, penalty):
    return torch.where(logits > 0, logits / penalty, logits * penalty)


def _bill_reads_the_last(prompt_length, new_tokens, context_length):
    return prompt_length + new_tokens


def _bill_without_reading_again(prompt_length, new_tokens, context_length):
    return prompt_length + new_tokens - 1 if new_tokens else 0


def _bill_without_a_cache(prompt_length, new_tokens, context_length):
    return sum(min(prompt_length + i, context_length) for i in range(new_tokens))


def _bill_whole_context_again(prompt_length, new_tokens, context_length):
    computed = cached = 0
    for step in range(new_tokens):
        unread = prompt_length if step == 0 else 1
        if cached == context_length:
            unread, cached = context_length, 0
        computed, cached = computed + unread, cached + unread
    return computed


def _bill_for_nothing(prompt_length, new_tokens, context_length):
    return prompt_length + new_tokens - 1


WRONG = {
    "6.1": [(_sharpen_not_normalised, "adds up to"),
            (_sharpen_upside_down, "sharpened where you should flatten"),
            (_sharpen_as_logits, "as if they were logits"), (_sharpen_by_division, "changes nothing")],
    "6.2": [(_draw_beyond_the_end, "by rounding"), (_draw_at_the_edge, "whose probability is zero"), (_draw_one_too_far, "it falls on token 0"),
            (_draw_from_row_0, "Each row has its own"), (_draw_the_likeliest, "it falls on token")],
    "6.3": [(_min_p_absolute, "compare the probabilities with min_p itself"),
            (_min_p_to_zero, "no small logit"),
            (_min_p_whole_batch, "of the whole batch"), (_min_p_in_place, "has changed the tensor"),
            (_min_p_probabilities, "their logits have changed"),
            (_min_p_of_logits, "should stay; yours are")],
    "6.4": [(_penalise_by_division, "more likely than before"), (_penalise_each_time, "more than once"),
            (_penalise_all_rows, "Another row's text"), (_penalise_in_place, "has changed the tensor"),
            (_penalise_everything, "penalise every token")],
    "6.5": [(_bill_reads_the_last, "one too many"),
            (_bill_without_reading_again, "never read the newer half again"),
            (_bill_without_a_cache, "without a cache"), (_bill_whole_context_again, "in place of one"),
            (_bill_for_nothing, "isn't called at all")],
}
