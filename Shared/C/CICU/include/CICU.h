// What the project asks of ICU: messages with named arguments, which ICU's own C interface does not have, amounts of
// money, and language tags (BCP 47). ICU's functions bear its version in their names (`uloc_getName_72`), by macros that
// Swift does not see.
// Texts are UTF-8. What writes a text gives the bytes that it takes, which may be more than `capacity`: then nothing of
// `out` is of use, and the caller comes again with more. -1: an error.
#pragma once
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

// MARK: Messages

enum { STAMPEDE_ICU_TEXT, STAMPEDE_ICU_NUMBER, STAMPEDE_ICU_TIME };

/// An argument that a pattern may name.
typedef struct {
    const char *name;
    int32_t kind;
} stampede_message_argument;

/// What an argument is this time.
typedef struct {
    /// The number, or the milliseconds since 1970.
    int64_t number;
    /// Where the text lies in the call's `texts`.
    size_t offset;
    size_t count;
} stampede_message_value;

typedef struct stampede_message stampede_message;

/// A pattern of ICU's MessageFormat, which names each of the arguments at least once, no others, and asks of none what its
/// kind has not. Times are of UTC. NULL with what is wrong in `problem`.
stampede_message *stampede_message_open(
    const char *pattern, size_t pattern_count, const char *language, const stampede_message_argument *arguments,
    size_t argument_count, char *problem, size_t problem_capacity);

/// For one thread at a time.
/// @param values one for each of the arguments with which it was opened, in their order
int64_t stampede_message_format(
    stampede_message *message, const stampede_message_value *values, const uint8_t *texts, char *out, size_t capacity);

void stampede_message_close(stampede_message *message);

// MARK: Money

typedef struct stampede_money stampede_money;

/// For amounts of one currency in units of which a hundred, or 10 to the `digits`, are one. NULL: an error.
stampede_money *stampede_money_open(const char *language, const char *currency, int32_t digits);

/// For any number of threads.
int64_t stampede_money_format(const stampede_money *money, int64_t amount, char *out, size_t capacity);

void stampede_money_close(stampede_money *money);

// MARK: Language tags

/// Whether the whole of it is a tag. For texts without a NUL.
int stampede_language_is_tag(const char *tag);

/// The tags to look for in place of this one, best first, with a space after each.
int64_t stampede_language_fallbacks(const char *tag, char *out, size_t capacity);

#ifdef __cplusplus
}
#endif
