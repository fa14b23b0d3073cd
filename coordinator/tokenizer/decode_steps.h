#ifndef CONCLAVE_COORDINATOR_TOKENIZER_DECODE_STEPS_H_
#define CONCLAVE_COORDINATOR_TOKENIZER_DECODE_STEPS_H_

#include <memory>
#include <string>

#include "coordinator/tokenizer/decoder.h"
#include "coordinator/tokenizer/metaspace.h"
#include "coordinator/tokenizer/pattern.h"

namespace conclave::coordinator {

// All tokens become bytes (see byte_level.h) and then one text, in which wrong UTF-8 is U+FFFD.
std::unique_ptr<DecodeStep> make_byte_level_step();

// A run of tokens <0xHH> becomes its bytes if they are valid UTF-8, else one U+FFFD a token; so the
// run is held back until it ends.
std::unique_ptr<DecodeStep> make_byte_fallback_step();

// All tokens become one.
std::unique_ptr<DecodeStep> make_fuse_step();

// Every match becomes content. In a token that comes in parts a regular expression waits for its
// end.
std::unique_ptr<DecodeStep> make_replace_step(Pattern pattern, std::string content);

// Up to `start` and `stop` times the character at each end of each token disappears.
std::unique_ptr<DecodeStep> make_strip_step(char32_t content, size_t start, size_t stop);

// The mark becomes a space; in the first token it disappears, unless the scheme is "never".
std::unique_ptr<DecodeStep> make_metaspace_step(const MetaspaceOptions& options);

// The suffix that ends words becomes a space, and nothing in the last token.
std::unique_ptr<DecodeStep> make_word_end_step(std::string suffix);

// Tokens with a space between them: a file without a decoder.
std::unique_ptr<DecodeStep> make_join_step();

}  // namespace conclave::coordinator

#endif  // CONCLAVE_COORDINATOR_TOKENIZER_DECODE_STEPS_H_
