// simdjson's DOM behind C functions. A dom::element is two words, carried across by value.
#include "CSimdJSON.h"

#include <cstring>
#include <new>
#include <simdjson.h>

using simdjson::dom::element;

static_assert(sizeof(element) == sizeof(stampede_json_element), "an element is a document and an index");

struct stampede_json_parser {
    simdjson::dom::parser parser;
    explicit stampede_json_parser(size_t bytes_max) : parser(bytes_max) {}
};

static stampede_json_element wrap(const element &value) {
    stampede_json_element out;
    std::memcpy(static_cast<void *>(&out), static_cast<const void *>(&value), sizeof out);
    return out;
}

static element unwrap(stampede_json_element value) {
    element out;
    std::memcpy(static_cast<void *>(&out), static_cast<const void *>(&value), sizeof out);
    return out;
}

extern "C" {

stampede_json_parser *stampede_json_parser_new(size_t bytes_max, size_t depth_max) {
    auto *parser = new (std::nothrow) stampede_json_parser(bytes_max);
    if (!parser) return nullptr;
    // Room for a usual document; grows up to bytes_max when a larger one comes.
    if (parser->parser.allocate(4096, depth_max) != simdjson::SUCCESS) {
        delete parser;
        return nullptr;
    }
    return parser;
}

void stampede_json_parser_free(stampede_json_parser *parser) { delete parser; }

int stampede_json_parse(
    stampede_json_parser *parser, const uint8_t *bytes, size_t count, stampede_json_element *root) {
    element parsed;
    auto error = parser->parser.parse(bytes, count, true).get(parsed);
    if (error != simdjson::SUCCESS) return static_cast<int>(error);
    *root = wrap(parsed);
    return 0;
}

const char *stampede_json_error(int code) {
    return simdjson::error_message(static_cast<simdjson::error_code>(code));
}

char stampede_json_type(stampede_json_element value) {
    element e = unwrap(value);
    if (e.is_bool()) return bool(e) ? 't' : 'f';
    return static_cast<char>(e.type());
}

int stampede_json_get(
    stampede_json_element object, const char *key, size_t key_count, stampede_json_element *value) {
    element found;
    if (unwrap(object).at_key(std::string_view(key, key_count)).get(found) != simdjson::SUCCESS) return 0;
    *value = wrap(found);
    return 1;
}

stampede_json_text stampede_json_string(stampede_json_element string) {
    std::string_view text;
    if (unwrap(string).get_string().get(text) != simdjson::SUCCESS) return {nullptr, 0};
    return {text.data(), text.size()};
}

int64_t stampede_json_int64(stampede_json_element number) {
    int64_t value = 0;
    (void)!unwrap(number).get_int64().get(value);
    return value;
}

double stampede_json_double(stampede_json_element number) {
    double value = 0;
    (void)!unwrap(number).get_double().get(value);
    return value;
}

size_t stampede_json_count(stampede_json_element container) {
    element e = unwrap(container);
    simdjson::dom::array array;
    if (e.get_array().get(array) == simdjson::SUCCESS) return array.size();
    simdjson::dom::object object;
    if (e.get_object().get(object) == simdjson::SUCCESS) return object.size();
    return 0;
}

size_t stampede_json_elements(stampede_json_element container, stampede_json_element *out, size_t max) {
    simdjson::dom::array array;
    if (unwrap(container).get_array().get(array) != simdjson::SUCCESS) return 0;
    size_t count = 0;
    for (element child : array) {
        if (count == max) break;
        out[count++] = wrap(child);
    }
    return count;
}

size_t stampede_json_members(stampede_json_element container, stampede_json_member *out, size_t max) {
    simdjson::dom::object object;
    if (unwrap(container).get_object().get(object) != simdjson::SUCCESS) return 0;
    size_t count = 0;
    for (auto field : object) {
        if (count == max) break;
        out[count].key = {field.key.data(), field.key.size()};
        out[count].value = wrap(field.value);
        count++;
    }
    return count;
}
}
