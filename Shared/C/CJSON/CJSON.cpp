// A document becomes a copy of its bytes and a list of nodes in the order of the text. Strings that have escapes are decoded
// in place: no text is longer than its spelling. Zeros behind the copy end every scan: no zero is part of a document.
#include "CJSON.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <new>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

namespace {

struct Node {
    uint32_t start;  // of a string or number in the bytes
    uint32_t count;  // a string's or number's bytes, a container's children
    uint32_t next;   // the node behind this value and all that is in it
    char type;
    uint8_t flags;
};

constexpr uint8_t NO_TEXT = 1;   // a string with half a surrogate pair, or U+0000
constexpr uint8_t DISTINCT = 2;  // an object whose names were seen to differ
constexpr uint8_t REPEATED = 4;  // one in which a name occurs twice
constexpr uint32_t NONE = UINT32_MAX;
constexpr size_t PADDING = 16;
constexpr size_t DEPTH_MAX = 64;

}  // namespace

struct stampede_json_parser {
    uint8_t *bytes = nullptr;
    size_t bytes_room = 0;
    Node *nodes = nullptr;
    size_t nodes_room = 0;
    size_t node_count = 0;
    uint32_t *order = nullptr;
    size_t order_room = 0;
    size_t bytes_max = 0;
    size_t depth_max = 0;
    size_t position = 0;
    uint32_t repeated = NONE;
    // The object that was asked last, and the member behind the one that was found.
    size_t asked = NONE;
    size_t following = 0;
};

namespace {

template <typename T>
bool reserve(T *&memory, size_t &room, size_t wanted) {
    if (wanted <= room) return true;
    size_t larger = std::max(wanted, room * 2);
    auto *moved = static_cast<T *>(std::realloc(memory, larger * sizeof(T)));
    if (!moved) return false;
    memory = moved;
    room = larger;
    return true;
}

/// The first byte from `at` on that a string cannot simply go on with: a quote, a backslash, a control character, and
/// what is not ASCII.
#ifdef __SSE2__
inline uint8_t *plain(uint8_t *at) {
    for (;; at += 16) {
        __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i *>(at));
        // As signed bytes, what is not ASCII is below zero.
        __m128i found = _mm_or_si128(
            _mm_cmplt_epi8(bytes, _mm_set1_epi8(0x20)),
            _mm_or_si128(
                _mm_cmpeq_epi8(bytes, _mm_set1_epi8('"')), _mm_cmpeq_epi8(bytes, _mm_set1_epi8('\\'))));
        if (int places = _mm_movemask_epi8(found)) return at + __builtin_ctz(unsigned(places));
    }
}
#else
inline uint8_t *plain(uint8_t *at) {
    while (*at >= 0x20 && *at < 0x80 && *at != '"' && *at != '\\') at++;
    return at;
}
#endif

/// How many bytes the character has that begins at `at`, which is not ASCII; 0 where it is no UTF-8.
inline size_t utf8(const uint8_t *at) {
    auto follows = [](uint8_t byte) { return (byte & 0xc0) == 0x80; };
    uint8_t first = at[0], second = at[1];
    if (first < 0xc2) return 0;
    if (first < 0xe0) return follows(second) ? 2 : 0;
    if (first < 0xf0) {
        bool fits = first == 0xe0 ? second >= 0xa0 && second < 0xc0
            : first == 0xed       ? second >= 0x80 && second < 0xa0
                                  : follows(second);
        return fits && follows(at[2]) ? 3 : 0;
    }
    if (first > 0xf4) return 0;
    bool fits = first == 0xf0 ? second >= 0x90 && second < 0xc0
        : first == 0xf4       ? second >= 0x80 && second < 0x90
                              : follows(second);
    return fits && follows(at[2]) && follows(at[3]) ? 4 : 0;
}

inline int hexadecimal(uint8_t byte) {
    if (byte >= '0' && byte <= '9') return byte - '0';
    byte |= 0x20;
    return byte >= 'a' && byte <= 'f' ? byte - 'a' + 10 : -1;
}

/// The unit of an escape `\u` whose digits begin at `at`, negative where they are none.
inline int unit(const uint8_t *at) {
    int value = 0;
    for (int place = 0; place < 4; place++) {
        int digit = hexadecimal(at[place]);
        if (digit < 0) return -1;
        value = value << 4 | digit;
    }
    return value;
}

inline uint8_t *put(uint8_t *out, uint32_t scalar) {
    if (scalar < 0x80) {
        *out++ = uint8_t(scalar);
    } else if (scalar < 0x800) {
        *out++ = uint8_t(0xc0 | scalar >> 6);
        *out++ = uint8_t(0x80 | (scalar & 0x3f));
    } else if (scalar < 0x10000) {
        *out++ = uint8_t(0xe0 | scalar >> 12);
        *out++ = uint8_t(0x80 | (scalar >> 6 & 0x3f));
        *out++ = uint8_t(0x80 | (scalar & 0x3f));
    } else {
        *out++ = uint8_t(0xf0 | scalar >> 18);
        *out++ = uint8_t(0x80 | (scalar >> 12 & 0x3f));
        *out++ = uint8_t(0x80 | (scalar >> 6 & 0x3f));
        *out++ = uint8_t(0x80 | (scalar & 0x3f));
    }
    return out;
}

/// Decodes one escape. `at` stands on the backslash, and behind the escape afterwards; NULL where it is none.
inline uint8_t *escape(uint8_t *&at, uint8_t *out, uint8_t &flags) {
    uint8_t kind = at[1];
    at += 2;
    switch (kind) {
        case '"': case '\\': case '/': *out++ = kind; return out;
        case 'b': *out++ = '\b'; return out;
        case 'f': *out++ = '\f'; return out;
        case 'n': *out++ = '\n'; return out;
        case 'r': *out++ = '\r'; return out;
        case 't': *out++ = '\t'; return out;
        case 'u': break;
        default: return nullptr;
    }
    int first = unit(at);
    if (first < 0) return nullptr;
    at += 4;
    uint32_t scalar = uint32_t(first);
    if (scalar >= 0xd800 && scalar < 0xdc00 && at[0] == '\\' && at[1] == 'u') {
        int second = unit(at + 2);
        if (second >= 0xdc00 && second < 0xe000) {
            scalar = 0x10000 + ((scalar - 0xd800) << 10) + uint32_t(second - 0xdc00);
            at += 6;
        }
    }
    if (scalar == 0 || (scalar >= 0xd800 && scalar < 0xe000)) flags |= NO_TEXT;
    return put(out, scalar);
}

struct Reader {
    stampede_json_parser &parser;
    uint8_t *at;
    int error = STAMPEDE_JSON_OK;

    bool refuse(int code) {
        error = code;
        return false;
    }

    void space() {
        while (*at == ' ' || *at == '\n' || *at == '\r' || *at == '\t') at++;
    }

    Node *node(char type) {
        Node *node = &parser.nodes[parser.node_count++];
        *node = Node{uint32_t(at - parser.bytes), 0, uint32_t(parser.node_count), type, 0};
        return node;
    }

    bool string() {
        at++;
        Node *text = node('"');
        at = plain(at);
        if (*at != '"' && !unusual(text)) return false;
        if (text->count == 0) text->count = uint32_t(at - (parser.bytes + text->start));
        at++;
        return true;
    }

    /// Goes on to the end of a string that has escapes or is not ASCII.
    [[gnu::noinline]] bool unusual(Node *text) {
        uint8_t *out = nullptr;
        uint8_t *run = at;
        auto keep = [&] {
            std::memmove(out, run, size_t(at - run));
            out += at - run;
        };
        for (;; at = plain(at)) {
            if (*at == '"') break;
            if (*at == '\\') {
                if (out) keep(); else out = at;
                out = escape(at, out, text->flags);
                if (!out) return refuse(STAMPEDE_JSON_MALFORMED);
                run = at;
            } else if (*at >= 0x80) {
                size_t count = utf8(at);
                if (count == 0) return refuse(STAMPEDE_JSON_NOT_UTF8);
                at += count;
            } else {
                return refuse(STAMPEDE_JSON_MALFORMED);
            }
        }
        if (out) {
            keep();
            text->count = uint32_t(out - (parser.bytes + text->start));
        }
        return true;
    }

    bool digits() {
        if (*at < '0' || *at > '9') return refuse(STAMPEDE_JSON_MALFORMED);
        while (*at >= '0' && *at <= '9') at++;
        return true;
    }

    bool number() {
        Node *number = node('0');
        if (*at == '-') at++;
        if (*at == '0') at++; else if (!digits()) return false;
        if (*at == '.') {
            at++;
            if (!digits()) return false;
        }
        if (*at == 'e' || *at == 'E') {
            at++;
            if (*at == '+' || *at == '-') at++;
            if (!digits()) return false;
        }
        number->count = uint32_t(at - (parser.bytes + number->start));
        return true;
    }

    bool word(const char *text, size_t count) {
        if (std::memcmp(at, text, count) != 0) return refuse(STAMPEDE_JSON_MALFORMED);
        node(*text);
        at += count;
        return true;
    }

    bool scalar() {
        switch (*at) {
            case '"': return string();
            case 't': return word("true", 4);
            case 'f': return word("false", 5);
            case 'n': return word("null", 4);
            default: return number();
        }
    }

    bool name() {
        if (*at != '"') return refuse(STAMPEDE_JSON_MALFORMED);
        if (!string()) return false;
        space();
        if (*at != ':') return refuse(STAMPEDE_JSON_MALFORMED);
        at++;
        space();
        return true;
    }

    bool document() {
        uint32_t open[DEPTH_MAX];
        size_t depth = 0;
        space();
        for (;;) {
            // A value begins here.
            uint8_t first = *at;
            if (first == '{' || first == '[') {
                if (depth == parser.depth_max) return refuse(STAMPEDE_JSON_TOO_DEEP);
                node(char(first));
                open[depth++] = uint32_t(parser.node_count - 1);
                at++;
                space();
                if (*at != (first == '{' ? '}' : ']')) {
                    if (first == '{' && !name()) return false;
                    continue;
                }
            } else {
                if (!scalar()) return false;
                space();
                if (depth == 0) return true;
                parser.nodes[open[depth - 1]].count++;
                if (*at == ',') {
                    at++;
                    space();
                    if (parser.nodes[open[depth - 1]].type == '{' && !name()) return false;
                    continue;
                }
            }
            // A container ends here, and others with it.
            for (;;) {
                Node &container = parser.nodes[open[depth - 1]];
                if (*at != (container.type == '{' ? '}' : ']')) return refuse(STAMPEDE_JSON_MALFORMED);
                at++;
                container.next = uint32_t(parser.node_count);
                space();
                if (--depth == 0) return true;
                Node &outer = parser.nodes[open[depth - 1]];
                outer.count++;
                if (*at != ',') continue;
                at++;
                space();
                if (outer.type == '{' && !name()) return false;
                break;
            }
        }
    }
};

const Node &node(stampede_json_element element) { return element.parser->nodes[element.index]; }

/// Compares two texts of one length.
inline bool equal(const uint8_t *left, const uint8_t *right, size_t count) {
    return count == 0 || (*left == *right && std::memcmp(left, right, count) == 0);
}

bool same(const stampede_json_parser &parser, const Node &left, const Node &right) {
    return left.count == right.count && equal(parser.bytes + left.start, parser.bytes + right.start, left.count);
}

/// Whether no name occurs twice in the object. Looked for once an object, and only in those that are read.
bool distinct(stampede_json_parser &parser, size_t index) {
    Node &object = parser.nodes[index];
    if (object.flags & (DISTINCT | REPEATED)) return object.flags & DISTINCT;
    constexpr uint32_t few = 32;
    uint32_t names[few];
    uint32_t *all = names;
    uint64_t seen = 0;
    if (object.count > few) {
        if (!reserve(parser.order, parser.order_room, object.count)) {
            // As if it were so: what cannot be looked at is not taken for right.
            parser.repeated = uint32_t(index + 1);
            return false;
        }
        all = parser.order;
    }
    uint32_t count = 0;
    uint32_t found = NONE;
    for (uint32_t at = uint32_t(index + 1); at < object.next; at = parser.nodes[at + 1].next) {
        if (object.count <= few) {
            // Nearly always the ends and the length of a name tell it from the others.
            const Node &name = parser.nodes[at];
            const uint8_t *text = parser.bytes + name.start;
            uint32_t ends = name.count == 0 ? 0 : text[0] * 5u + text[name.count - 1] * 3u + name.count;
            uint64_t mark = uint64_t(1) << (ends & 63);
            for (uint32_t other = 0; seen & mark && other < count; other++) {
                if (same(parser, name, parser.nodes[all[other]])) found = at;
            }
            seen |= mark;
        }
        all[count++] = at;
    }
    if (object.count > few) {
        std::sort(all, all + count, [&](uint32_t left, uint32_t right) {
            const Node &one = parser.nodes[left], &two = parser.nodes[right];
            if (one.count != two.count) return one.count < two.count;
            return std::memcmp(parser.bytes + one.start, parser.bytes + two.start, one.count) < 0;
        });
        for (uint32_t place = 1; place < count; place++) {
            if (same(parser, parser.nodes[all[place - 1]], parser.nodes[all[place]])) found = all[place];
        }
    }
    object.flags |= found == NONE ? DISTINCT : REPEATED;
    if (found != NONE && parser.repeated == NONE) parser.repeated = found;
    return found == NONE;
}

}  // namespace

extern "C" {

stampede_json_parser *stampede_json_parser_new(size_t bytes_max, size_t depth_max) {
    auto *memory = std::malloc(sizeof(stampede_json_parser));
    if (!memory) return nullptr;
    auto *parser = new (memory) stampede_json_parser();
    // Positions have 32 bits.
    parser->bytes_max = std::min<size_t>(bytes_max, 1u << 30);
    parser->depth_max = std::min(depth_max, DEPTH_MAX);
    return parser;
}

void stampede_json_parser_free(stampede_json_parser *parser) {
    std::free(parser->bytes);
    std::free(parser->nodes);
    std::free(parser->order);
    std::free(parser);
}

int stampede_json_parse(
    stampede_json_parser *parser, const uint8_t *bytes, size_t count, stampede_json_element *root) {
    parser->position = 0;
    parser->repeated = NONE;
    parser->asked = NONE;
    parser->node_count = 0;
    if (count > parser->bytes_max) return STAMPEDE_JSON_TOO_LARGE;
    if (!reserve(parser->bytes, parser->bytes_room, count + PADDING)
        // A value has a byte, and another parts it from the next or ends it, but for what is open still.
        || !reserve(parser->nodes, parser->nodes_room, count / 2 + DEPTH_MAX + 2)) {
        return STAMPEDE_JSON_NO_MEMORY;
    }
    if (count > 0) std::memcpy(parser->bytes, bytes, count);
    std::memset(parser->bytes + count, 0, PADDING);
    Reader reader{*parser, parser->bytes};
    bool is_read = reader.document();
    parser->position = std::min(size_t(reader.at - parser->bytes), count);
    if (!is_read) return reader.error;
    if (parser->position != count) return STAMPEDE_JSON_MALFORMED;
    *root = {parser, 0};
    return STAMPEDE_JSON_OK;
}

size_t stampede_json_position(const stampede_json_parser *parser) { return parser->position; }

char stampede_json_type(stampede_json_element element) { return node(element).type; }

int stampede_json_get(
    stampede_json_element object, const char *name, size_t name_count, stampede_json_element *value) {
    const Node &container = node(object);
    if (container.type != '{' || !distinct(*object.parser, object.index)) return 0;
    stampede_json_parser &parser = *object.parser;
    auto *text = reinterpret_cast<const uint8_t *>(name);
    // Members are asked for in the order in which publishers write them, nearly always.
    size_t first = object.index + 1;
    size_t at = parser.asked == object.index && parser.following < container.next ? parser.following : first;
    for (uint32_t left = container.count; left > 0; left--) {
        const Node &known = parser.nodes[at];
        if (known.count == name_count && equal(parser.bytes + known.start, text, name_count)) {
            *value = {&parser, at + 1};
            parser.asked = object.index;
            parser.following = parser.nodes[at + 1].next;
            return 1;
        }
        at = parser.nodes[at + 1].next;
        if (at >= container.next) at = first;
    }
    return 0;
}

stampede_json_text stampede_json_repeated(const stampede_json_parser *parser) {
    if (parser->repeated == NONE) return {nullptr, 0};
    const Node &name = parser->nodes[parser->repeated];
    return {reinterpret_cast<const char *>(parser->bytes + name.start), name.count};
}

stampede_json_text stampede_json_string(stampede_json_element string) {
    const Node &text = node(string);
    if (text.type != '"' || text.flags & NO_TEXT) return {nullptr, 0};
    return {reinterpret_cast<const char *>(string.parser->bytes + text.start), text.count};
}

size_t stampede_json_place(stampede_json_element string) {
    const Node &text = node(string);
    return text.type == '"' ? text.start : SIZE_MAX;
}

int stampede_json_integer(stampede_json_element element, int64_t *value) {
    const Node &number = node(element);
    if (number.type != '0') return 0;
    const uint8_t *at = element.parser->bytes + number.start;
    const uint8_t *end = at + number.count;
    bool is_negative = *at == '-';
    if (is_negative) at++;
    // The digits without those that are zeros at the end, which move the point instead.
    uint64_t digits = 0;
    int64_t zeros = 0;
    int64_t point = 0;
    bool is_fraction = false;
    bool is_too_long = false;
    for (; at < end && *at != 'e' && *at != 'E'; at++) {
        if (*at == '.') {
            is_fraction = true;
            continue;
        }
        if (is_fraction) point--;
        if (*at == '0') {
            zeros++;
            continue;
        }
        if (digits != 0) {
            for (; zeros > 0 && !is_too_long; zeros--) is_too_long = __builtin_mul_overflow(digits, 10u, &digits);
        }
        zeros = 0;
        is_too_long = is_too_long || __builtin_mul_overflow(digits, 10u, &digits)
            || __builtin_add_overflow(digits, uint64_t(*at - '0'), &digits);
    }
    // More digits that count than 64 bits have: no integer that fits, wherever the point is.
    if (is_too_long) return 0;
    if (digits == 0) {
        *value = 0;
        return 1;
    }
    int64_t exponent = 0;
    if (at < end) {
        at++;
        bool is_down = *at == '-';
        if (*at == '-' || *at == '+') at++;
        for (; at < end; at++) exponent = std::min<int64_t>(exponent * 10 + (*at - '0'), 1 << 30);
        if (is_down) exponent = -exponent;
    }
    exponent += point + zeros;
    if (exponent < 0) return 0;
    for (; exponent > 0; exponent--) {
        if (__builtin_mul_overflow(digits, 10u, &digits)) return 0;
    }
    if (digits > uint64_t(INT64_MAX) + (is_negative ? 1 : 0)) return 0;
    *value = is_negative ? int64_t(0 - digits) : int64_t(digits);
    return 1;
}

size_t stampede_json_count(stampede_json_element container) {
    const Node &found = node(container);
    return found.type == '{' || found.type == '[' ? found.count : 0;
}

size_t stampede_json_elements(stampede_json_element array, stampede_json_element *out, size_t max) {
    const Node &container = node(array);
    if (container.type != '[') return 0;
    size_t count = 0;
    for (size_t at = array.index + 1; at < container.next && count < max; at = array.parser->nodes[at].next) {
        out[count++] = {array.parser, at};
    }
    return count;
}

size_t stampede_json_members(stampede_json_element object, stampede_json_member *out, size_t max) {
    const Node &container = node(object);
    if (container.type != '{' || !distinct(*object.parser, object.index)) return 0;
    size_t count = 0;
    for (size_t at = object.index + 1; at < container.next && count < max; at = object.parser->nodes[at + 1].next) {
        out[count++] = {{object.parser, at}, {object.parser, at + 1}};
    }
    return count;
}
}
