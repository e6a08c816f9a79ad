#pragma once

// OpenQASM 2 as a row of words, and the expressions among them.

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "common/result.hpp"

namespace micro_swarm::quantum {

struct Token {
  enum class Kind : std::uint8_t { name, integer, real, text, symbol, end };
  Kind kind = Kind::end;
  std::string_view word;  ///< in the source; of a text without its quotes
  std::uint32_t line = 1;

  bool is(std::string_view symbol) const noexcept { return kind == Kind::symbol && word == symbol; }
  bool is_name(std::string_view name) const noexcept { return kind == Kind::name && word == name; }
};

/// `source` outlives the tokens; the last one is the end. Error: a character that begins nothing.
Result<std::vector<Token>> tokens_of(std::string_view source);

/// A token as a message shows it: `";"`, or `the end`.
std::string shown(const Token& token);

/// "line 7".
std::string line_text(const Token& token);

using Values = std::map<std::string_view, double>;

/// Reads an expression of numbers, pi, `names`, + - * / ^, parentheses and sin cos tan exp ln sqrt
/// from `at`, which is then behind it. Errors say what is wrong and where; the value may be
/// infinite or no number.
Result<double> read_expression(const std::vector<Token>& tokens, std::size_t& at,
                               const Values& names);

/// A text that is one expression without names, as angles in JSON may be. Error: without a place.
Result<double> value_of_expression(std::string_view text);

}  // namespace micro_swarm::quantum
