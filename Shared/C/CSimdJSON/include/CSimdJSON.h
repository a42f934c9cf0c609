// A C face for simdjson's document parser, so that Swift can read JSON without a copy of each value.
// An element is valid until its parser parses again or is freed.
#pragma once
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct stampede_json_parser stampede_json_parser;

typedef struct {
    const void *document;
    size_t index;
} stampede_json_element;

typedef struct {
    const char *bytes;
    size_t count;
} stampede_json_text;

typedef struct {
    stampede_json_text key;
    stampede_json_element value;
} stampede_json_member;

/// Documents larger than `bytes_max` or nested deeper than `depth_max` are refused. NULL when memory is short.
stampede_json_parser *stampede_json_parser_new(size_t bytes_max, size_t depth_max);
void stampede_json_parser_free(stampede_json_parser *parser);

/// 0, or simdjson's error code. The text is copied: it needs no padding.
int stampede_json_parse(
    stampede_json_parser *parser, const uint8_t *bytes, size_t count, stampede_json_element *root);
const char *stampede_json_error(int code);

/// `{` object, `[` array, `"` string, `l` int64, `u` uint64, `d` double, `t`/`f` boolean, `n` null.
char stampede_json_type(stampede_json_element element);

/// Whether the object has the key; the first of equal keys counts.
int stampede_json_get(
    stampede_json_element object, const char *key, size_t key_count, stampede_json_element *value);
stampede_json_text stampede_json_string(stampede_json_element string);
int64_t stampede_json_int64(stampede_json_element number);
double stampede_json_double(stampede_json_element number);

/// The number of an array's or object's children, at most 16,777,215.
size_t stampede_json_count(stampede_json_element container);
/// Writes at most `max` children, returns how many.
size_t stampede_json_elements(stampede_json_element array, stampede_json_element *out, size_t max);
size_t stampede_json_members(stampede_json_element object, stampede_json_member *out, size_t max);

#ifdef __cplusplus
}
#endif
