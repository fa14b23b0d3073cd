#ifndef CONCLAVE_COORDINATOR_CHAT_TEMPLATE_UNICODE_TABLES_H_
#define CONCLAVE_COORDINATOR_CHAT_TEMPLATE_UNICODE_TABLES_H_

// What Python's str methods know of characters beyond their category and simple case mappings.

namespace conclave::coordinator::jinja {

bool is_digit_beyond_decimal(char32_t code_point);   // superscripts, circled digits
bool is_numeric_beyond_digit(char32_t code_point);   // fractions, Roman and Han numbers
bool is_lower_beyond_category(char32_t code_point);  // cased, though no letter of category Ll or Lu
bool is_upper_beyond_category(char32_t code_point);
// Where str.isidentifier() differs from letters, marks, digits and underscores.
bool starts_identifier_against_category(char32_t code_point);
bool continues_identifier_against_category(char32_t code_point);
// UTF-8 of a capital that is more than one character ("SS" for sharp s); null: it is one.
const char* long_upper(char32_t code_point);
const char* long_title(char32_t code_point);

}  // namespace conclave::coordinator::jinja

#endif  // CONCLAVE_COORDINATOR_CHAT_TEMPLATE_UNICODE_TABLES_H_
