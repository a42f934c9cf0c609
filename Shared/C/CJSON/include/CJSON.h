// Reads JSON (RFC 8259) into an index of its values, without a copy of each. The whole document is checked for its grammar
// and for UTF-8; what a number comes to and whether a text can be one is asked when it is read, so that a member which
// nobody reads costs nothing and never fails.
// An element is valid until its parser parses again or is freed.
#pragma once
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct stampede_json_parser stampede_json_parser;

typedef struct {
    stampede_json_parser *parser;
    size_t index;
} stampede_json_element;

typedef struct {
    const char *bytes;
    size_t count;
} stampede_json_text;

typedef struct {
    stampede_json_element name;
    stampede_json_element value;
} stampede_json_member;

/// Documents larger than `bytes_max` or nested deeper than `depth_max` (at most 64) are refused. NULL when memory is short.
stampede_json_parser *stampede_json_parser_new(size_t bytes_max, size_t depth_max);
void stampede_json_parser_free(stampede_json_parser *parser);

enum {
    STAMPEDE_JSON_OK = 0,
    STAMPEDE_JSON_MALFORMED = 1,
    STAMPEDE_JSON_NOT_UTF8 = 2,
    STAMPEDE_JSON_TOO_DEEP = 3,
    STAMPEDE_JSON_TOO_LARGE = 4,
    STAMPEDE_JSON_NO_MEMORY = 5,
};

/// `STAMPEDE_JSON_OK`, or why not. The bytes are copied.
int stampede_json_parse(
    stampede_json_parser *parser, const uint8_t *bytes, size_t count, stampede_json_element *root);
/// How many bytes of the last document were read when it was refused.
size_t stampede_json_position(const stampede_json_parser *parser);

/// `{` object, `[` array, `"` string, `0` number, `t`/`f` boolean, `n` null.
char stampede_json_type(stampede_json_element element);

/// Whether the object has a member of that name. An object that has two of one name has none at all, and is told of by
/// `stampede_json_repeated`.
int stampede_json_get(
    stampede_json_element object, const char *name, size_t name_count, stampede_json_element *value);
/// The name that an object has twice, of the first such object that was asked for a member or its members; `bytes` is NULL
/// where there is none. With the bytes of a text that is none, see `stampede_json_string`.
stampede_json_text stampede_json_repeated(const stampede_json_parser *parser);

/// `bytes` is NULL where the value is no string, and where its text is none that can be kept: half a surrogate pair, or
/// U+0000.
stampede_json_text stampede_json_string(stampede_json_element string);
/// Where the text's spelling begins in the document, behind its quote; SIZE_MAX where the value is no string.
size_t stampede_json_place(stampede_json_element string);
/// Whether the value is a number without a fraction, however it is written (`1`, `1.0`, `1e0`), and fits 64 bits.
int stampede_json_integer(stampede_json_element number, int64_t *value);

/// The number of an array's elements or an object's members.
size_t stampede_json_count(stampede_json_element container);
/// Writes at most `max` children, returns how many.
size_t stampede_json_elements(stampede_json_element array, stampede_json_element *out, size_t max);
size_t stampede_json_members(stampede_json_element object, stampede_json_member *out, size_t max);

#ifdef __cplusplus
}
#endif
