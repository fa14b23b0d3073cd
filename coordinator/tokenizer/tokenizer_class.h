#ifndef CONCLAVE_COORDINATOR_TOKENIZER_TOKENIZER_CLASS_H_
#define CONCLAVE_COORDINATOR_TOKENIZER_TOKENIZER_CLASS_H_

// Which parts of a tokenizer follow tokenizer.json and which the class that the folder names.
// Source: transformers 5.24, whose classes for some families build all but vocabulary and merges
// from code (docs/tokenizers.md lists them).

#include <string>
#include <utility>
#include <vector>

namespace conclave::coordinator {

// What a class does with its special tokens once they are in the vocabulary.
enum class TokensAgain {
  kNo,
  kWithoutFlags,  // adds them again as plain special tokens
  kAsSpecial,     // adds them again as they are, special
};

struct TokenizerClass {
  std::string name;  // "" follows tokenizer.json
  // Special tokens of the class; an empty text says "none". A file's own, null included, win.
  std::vector<std::pair<const char*, const char*>> tokens;
  bool own_post_processor = false;  // the file's is not used
  TokensAgain again = TokensAgain::kNo;

  bool follows_file() const { return name.empty(); }
};

// What decides about the class.
struct ClassHints {
  std::string model_type;       // config.json; "" if unknown
  std::string model_class;      // config.json's tokenizer_class
  std::string tokenizer_class;  // tokenizer_config.json's
  bool has_tokenizer_class = false;
  bool own_code = false;          // tokenizer_config.json's auto_map
  bool names_byte_level = false;  // tokenizer.json does
};

// note: one sentence if the folder asks for something that is passed over, else "".
TokenizerClass choose_tokenizer_class(const ClassHints& hints, std::string* note);

}  // namespace conclave::coordinator

#endif  // CONCLAVE_COORDINATOR_TOKENIZER_TOKENIZER_CLASS_H_
