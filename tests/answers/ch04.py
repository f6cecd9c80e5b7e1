"""Plausible wrong answers to chapter 4's exercises, each with a piece of the hint meant for it."""

import torch

from gptbook.kv_cache import KVCache


def all_readings(P, N):
    return sum(P + i for i in range(N))


def one_step_too_many(P, N):
    return sum(P + i for i in range(N + 1)) - (P + N - 1)


def only_the_prompt_again(P, N):
    return P * (N - 1)


def without_values(nbytes, batch_size, n_layers, emb_dim, bytes_per_number):
    return nbytes // (batch_size * n_layers * emb_dim * bytes_per_number)


def one_layer(nbytes, batch_size, n_layers, emb_dim, bytes_per_number):
    return nbytes // (2 * batch_size * emb_dim * bytes_per_number)


def one_sequence(nbytes, batch_size, n_layers, emb_dim, bytes_per_number):
    return nbytes // (2 * n_layers * emb_dim * bytes_per_number)


def numbers_not_bytes(nbytes, batch_size, n_layers, emb_dim, bytes_per_number):
    return nbytes // (2 * batch_size * n_layers * emb_dim)


def a_fraction(nbytes, batch_size, n_layers, emb_dim, bytes_per_number):
    return nbytes / (2 * batch_size * n_layers * emb_dim * bytes_per_number)


def rounded_up(nbytes, batch_size, n_layers, emb_dim, bytes_per_number):
    return -(-nbytes // (2 * batch_size * n_layers * emb_dim * bytes_per_number))


def top_left(length, T, max_length):
    return torch.ones(T, max_length, dtype=torch.bool).tril()


def not_itself(length, T, max_length):
    return torch.arange(max_length) < length + torch.arange(T)[:, None]


def lower_right_of_the_block(length, T, max_length):
    return torch.ones(T, max_length, dtype=torch.bool).tril(max_length - T)


def only_what_is_filled(length, T, max_length):
    return (torch.arange(max_length) < length + T).expand(T, max_length)


def as_wide_as_filled(length, T, max_length):
    return torch.ones(T, length + T, dtype=torch.bool).tril(length)


def as_numbers(length, T, max_length):
    return (torch.arange(max_length) <= length + torch.arange(T)[:, None]).float()


def without_the_rest(attention, x, cache, size):
    return torch.cat([attention(x[:, i * size:(i + 1) * size], cache) for i in range(x.shape[1] // size)], dim=1)


def without_the_cache(attention, x, cache, size):
    return torch.cat([attention(chunk) for chunk in x.split(size, dim=1)], dim=1)


def after_a_reset(attention, x, cache, size):
    cache.reset()
    return torch.cat([attention(chunk, cache) for chunk in x.split(size, dim=1)], dim=1)


def reset_each_time(attention, x, cache, size):
    rows = []
    for chunk in x.split(size, dim=1):
        cache.reset()
        rows.append(attention(chunk, cache))
    return torch.cat(rows, dim=1)


def the_last_rows(attention, x, cache, size):
    for chunk in x.split(size, dim=1):
        rows = attention(chunk, cache)
    return rows[:, -1:]


def expanded(cache, n):
    new = KVCache(1, *cache.keys.shape[1:], dtype=cache.keys.dtype)
    new.keys, new.values = cache.keys.expand(n, -1, -1, -1), cache.values.expand(n, -1, -1, -1)
    new.length = cache.length
    return new


def sharing_with_the_prompt(cache, n):
    new = KVCache(n, *cache.keys.shape[1:], dtype=cache.keys.dtype)
    new.update(cache.keys[:, :, :3].repeat(n, 1, 1, 1), cache.values[:, :, :3].repeat(n, 1, 1, 1))
    cache.update(torch.ones_like(cache.keys[:, :, :1]), torch.ones_like(cache.keys[:, :, :1]))
    return new


def without_length(cache, n):
    new = KVCache(n, *cache.keys.shape[1:], dtype=cache.keys.dtype)
    new.keys.copy_(cache.keys)
    new.values.copy_(cache.values)
    return new


def without_dtype(cache, n):
    new = KVCache(n, *cache.keys.shape[1:])
    new.keys.copy_(cache.keys)
    new.values.copy_(cache.values)
    new.length = cache.length
    return new


def only_the_first_row(cache, n):
    new = KVCache(n, *cache.keys.shape[1:], dtype=cache.keys.dtype)
    new.keys[0], new.values[0], new.length = cache.keys[0], cache.values[0], cache.length
    return new


def the_old_one(cache, n):
    return cache


WRONG = {
    "4.1": [(all_readings, "counted all readings"), (one_step_too_many, "one step too many"),
            (only_the_prompt_again, "also the new tokens written before it")],
    "4.2": [(without_values, "once as a key and once as a value"), (one_layer, "layers has a cache of its own"),
            (one_sequence, "sequences of the batch"), (numbers_not_bytes, "counted in bytes"),
            (a_fraction, "wholly or not at all"), (rounded_up, "more than there are")],
    "4.3": [(top_left, "did you shift the triangle"), (not_itself, "may look at itself"),
            (lower_right_of_the_block, "which is empty"), (only_what_is_filled, "in its future"),
            (as_wide_as_filled, "one column for each place"), (as_numbers, "torch.bool")],
    "4.4": [(without_the_rest, "shorter chunk at the end"), (without_the_cache, "was not used"),
            (after_a_reset, "Do not reset"), (reset_each_time, "see those before it"),
            (the_last_rows, "one row for each position")],
    "4.5": [(expanded, "share their memory"), (sharing_with_the_prompt, "changed the old one"),
            (without_length, "Its length has to be 3"), (without_dtype, "Pass the dtype on"),
            (only_the_first_row, "keys of row 1"), (the_old_one, "returned the old cache")],
}
