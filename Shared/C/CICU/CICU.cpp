#include "CICU.h"

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <memory>
#include <mutex>
#include <new>
#include <set>
#include <string>
#include <vector>

#include <unicode/messagepattern.h>
#include <unicode/msgfmt.h>
#include <unicode/numberformatter.h>
#include <unicode/timezone.h>
#include <unicode/uloc.h>
#include <unicode/ustring.h>

using icu::FieldPosition;
using icu::Formattable;
using icu::Locale;
using icu::MessageFormat;
using icu::MessagePattern;
using icu::UnicodeString;

namespace {

UnicodeString fromUTF8(const char *bytes, size_t count) {
    return UnicodeString::fromUTF8(icu::StringPiece(bytes, static_cast<int32_t>(count)));
}

int64_t write(const UnicodeString &text, char *out, size_t capacity) {
    int32_t count = 0;
    UErrorCode status = U_ZERO_ERROR;
    u_strToUTF8(
        out, static_cast<int32_t>(std::min<size_t>(capacity, INT32_MAX)), &count, text.getBuffer(), text.length(),
        &status);
    return U_SUCCESS(status) || status == U_BUFFER_OVERFLOW_ERROR ? count : -1;
}

int64_t write(const std::string &text, char *out, size_t capacity) {
    if (text.size() <= capacity) memcpy(out, text.data(), text.size());
    return static_cast<int64_t>(text.size());
}

/// Whether an argument of that kind can be formatted so. A number or a time without a format of its own would be written by
/// rules that nobody chose.
bool fits(int32_t kind, UMessagePatternArgType type, const UnicodeString &format) {
    switch (type) {
    case UMSGPAT_ARG_TYPE_NONE: return kind == STAMPEDE_ICU_TEXT;
    case UMSGPAT_ARG_TYPE_SELECT: return kind == STAMPEDE_ICU_TEXT;
    case UMSGPAT_ARG_TYPE_PLURAL:
    case UMSGPAT_ARG_TYPE_SELECTORDINAL: return kind == STAMPEDE_ICU_NUMBER;
    case UMSGPAT_ARG_TYPE_SIMPLE:
        if (kind == STAMPEDE_ICU_NUMBER) return format == u"number";
        return kind == STAMPEDE_ICU_TIME && (format == u"time" || format == u"date");
    default: return false;
    }
}

/// What is wrong with the pattern's arguments; empty: nothing.
std::string problemOf(
    const MessagePattern &pattern, const stampede_message_argument *arguments, size_t argumentCount) {
    std::vector<bool> isNamed(argumentCount, false);
    for (int32_t part = 0; part + 1 < pattern.countParts(); part++) {
        if (pattern.getPartType(part) != UMSGPAT_PART_TYPE_ARG_START) continue;
        const UMessagePatternArgType type = pattern.getPart(part).getArgType();
        const UnicodeString name = pattern.getSubstring(pattern.getPart(part + 1));
        std::string shown;
        name.toUTF8String(shown);
        size_t index = 0;
        while (index < argumentCount && name != UnicodeString::fromUTF8(arguments[index].name)) index++;
        if (index == argumentCount) return "there is no argument {" + shown + "}";
        const UnicodeString format =
            type == UMSGPAT_ARG_TYPE_SIMPLE ? pattern.getSubstring(pattern.getPart(part + 2)) : UnicodeString();
        if (!fits(arguments[index].kind, type, format)) {
            const char *expected[] = {
                "is a text: {…} or {…, select, …}", "is a number: {…, number} or {…, plural, …}",
                "is a time: {…, time, …} or {…, date, …}"};
            return "{" + shown + "} " + expected[arguments[index].kind];
        }
        isNamed[index] = true;
    }
    for (size_t index = 0; index < argumentCount; index++) {
        if (!isNamed[index]) return std::string("{") + arguments[index].name + "} is missing";
    }
    return "";
}

}  // namespace

struct stampede_message {
    std::unique_ptr<MessageFormat> format;
    std::vector<UnicodeString> names;
    std::vector<int32_t> kinds;
    /// The last call's, kept for their memory.
    std::vector<Formattable> values;
    UnicodeString result;
};

struct stampede_money {
    icu::number::LocalizedNumberFormatter formatter;
};

extern "C" {

stampede_message *stampede_message_open(
    const char *pattern, size_t pattern_count, const char *language, const stampede_message_argument *arguments,
    size_t argument_count, char *problem, size_t problem_capacity) {
    // A format takes ICU's default when it is made. It is of no use to anything else here.
    static std::once_flag utc;
    std::call_once(utc, [] { icu::TimeZone::adoptDefault(icu::TimeZone::getGMT()->clone()); });

    UErrorCode status = U_ZERO_ERROR;
    UParseError place{};
    const UnicodeString text = fromUTF8(pattern, pattern_count);
    MessagePattern parts(status);
    parts.parse(text, &place, status);
    if (U_FAILURE(status)) {
        snprintf(problem, problem_capacity, "%s at character %d", u_errorName(status), place.offset);
        return nullptr;
    }
    const std::string wrong = problemOf(parts, arguments, argument_count);
    if (!wrong.empty()) {
        snprintf(problem, problem_capacity, "%s", wrong.c_str());
        return nullptr;
    }
    std::unique_ptr<stampede_message> message(new (std::nothrow) stampede_message);
    if (!message) return nullptr;
    message->format.reset(new MessageFormat(text, Locale::forLanguageTag(language, status), place, status));
    if (!message->format || U_FAILURE(status)) {
        snprintf(problem, problem_capacity, "%s", u_errorName(status));
        return nullptr;
    }
    for (size_t index = 0; index < argument_count; index++) {
        message->names.push_back(UnicodeString::fromUTF8(arguments[index].name));
        message->kinds.push_back(arguments[index].kind);
    }
    message->values.resize(argument_count);
    return message.release();
}

int64_t stampede_message_format(
    stampede_message *message, const stampede_message_value *values, const uint8_t *texts, char *out, size_t capacity) {
    for (size_t index = 0; index < message->values.size(); index++) {
        const stampede_message_value &value = values[index];
        Formattable &formattable = message->values[index];
        switch (message->kinds[index]) {
        case STAMPEDE_ICU_TEXT: formattable.setString(fromUTF8(reinterpret_cast<const char *>(texts) + value.offset, value.count)); break;
        case STAMPEDE_ICU_NUMBER: formattable.setInt64(value.number); break;
        default: formattable.setDate(static_cast<UDate>(value.number));
        }
    }
    UErrorCode status = U_ZERO_ERROR;
    message->result.remove();
    message->format->format(
        message->names.data(), message->values.data(), static_cast<int32_t>(message->values.size()), message->result,
        status);
    return U_SUCCESS(status) ? write(message->result, out, capacity) : -1;
}

void stampede_message_close(stampede_message *message) { delete message; }

stampede_money *stampede_money_open(const char *language, const char *currency, int32_t digits) {
    UErrorCode status = U_ZERO_ERROR;
    const Locale locale = Locale::forLanguageTag(language, status);
    const icu::CurrencyUnit unit(icu::StringPiece(currency), status);
    if (U_FAILURE(status)) return nullptr;
    return new (std::nothrow) stampede_money{
        icu::number::NumberFormatter::withLocale(locale)
            .unit(unit)
            .scale(icu::number::Scale::powerOfTen(-digits))
            .precision(icu::number::Precision::fixedFraction(digits))};
}

int64_t stampede_money_format(const stampede_money *money, int64_t amount, char *out, size_t capacity) {
    UErrorCode status = U_ZERO_ERROR;
    const icu::number::FormattedNumber number = money->formatter.formatInt(amount, status);
    const UnicodeString text = number.toTempString(status);
    return U_SUCCESS(status) ? write(text, out, capacity) : -1;
}

void stampede_money_close(stampede_money *money) { delete money; }

int stampede_language_is_tag(const char *tag) {
    char locale[ULOC_FULLNAME_CAPACITY];
    int32_t parsed = 0;
    UErrorCode status = U_ZERO_ERROR;
    uloc_forLanguageTag(tag, locale, sizeof locale, &parsed, &status);
    return U_SUCCESS(status) && status != U_STRING_NOT_TERMINATED_WARNING && parsed == static_cast<int32_t>(strlen(tag));
}

int64_t stampede_language_fallbacks(const char *tag, char *out, size_t capacity) {
    char name[ULOC_FULLNAME_CAPACITY], likely[ULOC_FULLNAME_CAPACITY];
    UErrorCode status = U_ZERO_ERROR;
    uloc_getBaseName(tag, name, sizeof name, &status);
    uloc_addLikelySubtags(name, likely, sizeof likely, &status);
    if (U_FAILURE(status) || status == U_STRING_NOT_TERMINATED_WARNING) return -1;
    std::string found;
    std::set<std::string> seen;
    const auto add = [&](const char *locale) {
        char text[ULOC_FULLNAME_CAPACITY];
        UErrorCode failed = U_ZERO_ERROR;
        const int32_t count = uloc_toLanguageTag(locale, text, sizeof text, false, &failed);
        if (U_SUCCESS(failed) && seen.insert(std::string(text, count)).second) found.append(text, count).append(" ");
    };
    // As it was asked for, then with the script that its readers most likely read: zh-TW is zh-Hant before it is zh.
    add(name);
    while (likely[0] != '\0') {
        add(likely);
        // Without the script where it goes without saying: zh-Hant-TW is zh-TW, and zh-Hant is not zh.
        const Locale whole(likely);
        Locale plain(whole.getLanguage(), whole.getCountry(), whole.getVariant());
        const std::string shortened = plain.getName();
        plain.addLikelySubtags(status);
        if (U_FAILURE(status)) return -1;
        if (strcmp(plain.getScript(), whole.getScript()) == 0) add(shortened.c_str());
        char parent[ULOC_FULLNAME_CAPACITY];
        const int32_t count = uloc_getParent(likely, parent, sizeof parent, &status);
        if (U_FAILURE(status) || count >= static_cast<int32_t>(sizeof likely)) return -1;
        memcpy(likely, parent, count + 1);
    }
    return write(found, out, capacity);
}

}  // extern "C"
