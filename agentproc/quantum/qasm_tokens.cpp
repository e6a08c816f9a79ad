#include "agentproc/quantum/qasm_tokens.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <numbers>

#include "agentproc/quantum/limits.hpp"

namespace micro_swarm::quantum {

namespace {

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }

/// How many characters of the beginning are a number; `is_real` where it has a point or exponent.
std::size_t number_length(std::string_view text, bool& is_real) {
  std::size_t at = 0;
  const auto digits = [&] {
    while (at < text.size() && is_digit(text[at])) ++at;
  };
  digits();
  is_real = false;
  if (at < text.size() && text[at] == '.') {
    is_real = true;
    ++at;
    digits();
  }
  if (at < text.size() && (text[at] == 'e' || text[at] == 'E')) {
    std::size_t exponent = at + 1;
    if (exponent < text.size() && (text[exponent] == '+' || text[exponent] == '-')) ++exponent;
    if (exponent < text.size() && is_digit(text[exponent])) {
      is_real = true;
      at = exponent;
      digits();
    }
  }
  return at;
}

class Tokenizer {
 public:
  explicit Tokenizer(std::string_view source) : rest_(source) {}

  Result<std::vector<Token>> run() {
    std::vector<Token> tokens;
    while (skip_blanks()) {
      const auto length = next_length();
      if (length == 0)
        return Error{ErrorCode::usage, "line " + std::to_string(line_) + ": " + wrong_, 0};
      tokens.push_back({kind_, word_, line_});
      rest_.remove_prefix(length);
    }
    tokens.push_back({Token::Kind::end, {}, line_});
    return tokens;
  }

 private:
  /// False: there is nothing left.
  bool skip_blanks() {
    while (!rest_.empty()) {
      if (rest_.starts_with("//")) {
        rest_.remove_prefix(std::min(rest_.find('\n'), rest_.size()));
      } else if (rest_.front() == '\n') {
        ++line_;
        rest_.remove_prefix(1);
      } else if (rest_.front() == ' ' || rest_.front() == '\t' || rest_.front() == '\r') {
        rest_.remove_prefix(1);
      } else {
        return true;
      }
    }
    return false;
  }

  /// Of the token the rest begins with, which is left in kind_ and word_. 0: none, see wrong_.
  std::size_t next_length() {
    const char first = rest_.front();
    std::size_t length = 1;
    if (is_letter(first)) {
      while (length < rest_.size() && (is_letter(rest_[length]) || is_digit(rest_[length])))
        ++length;
      return take(Token::Kind::name, length);
    }
    if (is_digit(first) || (first == '.' && rest_.size() > 1 && is_digit(rest_[1]))) {
      bool is_real = false;
      length = number_length(rest_, is_real);
      return take(is_real ? Token::Kind::real : Token::Kind::integer, length);
    }
    if (first == '"') {
      const std::size_t end = rest_.find_first_of("\"\n", 1);
      if (end == std::string_view::npos || rest_[end] == '\n') {
        wrong_ = "a text has no end";
        return 0;
      }
      take(Token::Kind::text, end + 1);
      word_ = rest_.substr(1, end - 1);
      return end + 1;
    }
    if (rest_.starts_with("->") || rest_.starts_with("==")) return take(Token::Kind::symbol, 2);
    if (std::string_view(";,()[]{}+-*/^").find(first) != std::string_view::npos)
      return take(Token::Kind::symbol, 1);
    const bool is_visible = first > ' ' && first < 0x7f;
    wrong_ = is_visible ? std::string("'") + first + "' begins nothing that is known here"
                        : "a character that is not ASCII, or a control character";
    return 0;
  }

  std::size_t take(Token::Kind kind, std::size_t length) {
    kind_ = kind;
    word_ = rest_.substr(0, length);
    return length;
  }

  std::string_view rest_;
  std::uint32_t line_ = 1;
  Token::Kind kind_ = Token::Kind::end;
  std::string_view word_;
  std::string wrong_;
};

class Expression {
 public:
  Expression(const std::vector<Token>& tokens, std::size_t& at, const Values& names)
      : tokens_(tokens), at_(at), names_(names) {}

  Result<double> sum() {
    if (++depth_ > expression_depth_max) return refuse("an expression is nested too deeply");
    auto value = product();
    while (value && (here().is("+") || here().is("-"))) {
      const bool adds = tokens_[at_++].is("+");
      auto next = product();
      if (!next) return next;
      value = adds ? *value + *next : *value - *next;
    }
    --depth_;
    return value;
  }

 private:
  Result<double> product() {
    auto value = signed_power();
    while (value && (here().is("*") || here().is("/"))) {
      const bool multiplies = tokens_[at_++].is("*");
      auto next = signed_power();
      if (!next) return next;
      value = multiplies ? *value * *next : *value / *next;
    }
    return value;
  }

  Result<double> signed_power() {
    bool is_negative = false;
    for (; here().is("-") || here().is("+"); ++at_) is_negative ^= here().is("-");
    auto value = power();
    if (value && is_negative) value = -*value;
    return value;
  }

  Result<double> power() {
    auto base = operand();
    if (!base || !here().is("^")) return base;
    if (++depth_ > expression_depth_max) return refuse("an expression is nested too deeply");
    ++at_;
    auto exponent = signed_power();  // from the right
    --depth_;
    if (!exponent) return exponent;
    return std::pow(*base, *exponent);
  }

  Result<double> operand() {
    const Token& token = here();
    if (token.kind == Token::Kind::integer || token.kind == Token::Kind::real) {
      double value = 0;
      if (std::from_chars(token.word.data(), token.word.data() + token.word.size(), value).ec !=
          std::errc())
        return refuse("the number " + std::string(token.word) + " is out of range");
      ++at_;
      return value;
    }
    if (token.is("(")) {
      ++at_;
      return closed(sum());
    }
    if (token.kind != Token::Kind::name)
      return refuse("expected a number, a name or \"(\", found " + shown(token));
    if (token.word == "pi") {
      ++at_;
      return std::numbers::pi;
    }
    if (const auto found = names_.find(token.word); found != names_.end()) {
      ++at_;
      return found->second;
    }
    return call();
  }

  Result<double> call() {
    static constexpr std::pair<std::string_view, double (*)(double)> functions[] = {
        {"sin", std::sin}, {"cos", std::cos}, {"tan", std::tan},
        {"exp", std::exp}, {"ln", std::log},  {"sqrt", std::sqrt}};
    for (const auto& [name, function] : functions) {
      if (here().word != name) continue;
      ++at_;
      if (!here().is("(")) return refuse("expected \"(\" after " + std::string(name));
      ++at_;
      auto argument = closed(sum());
      if (!argument) return argument;
      return function(*argument);
    }
    return refuse("\"" + std::string(here().word) + "\" is no value known here");
  }

  Result<double> closed(Result<double> value) {
    if (!value) return value;
    if (!here().is(")")) return refuse("expected \")\", found " + shown(here()));
    ++at_;
    return value;
  }

  const Token& here() const { return tokens_[at_]; }
  Error refuse(const std::string& text) const {
    return {ErrorCode::usage, line_text(here()) + ": " + text, 0};
  }

  const std::vector<Token>& tokens_;
  std::size_t& at_;
  const Values& names_;
  unsigned depth_ = 0;
};

}  // namespace

Result<std::vector<Token>> tokens_of(std::string_view source) { return Tokenizer(source).run(); }

std::string shown(const Token& token) {
  if (token.kind == Token::Kind::end) return "the end";
  constexpr std::size_t shown_max = 40;
  return "\"" + std::string(token.word.substr(0, shown_max)) + "\"";
}

std::string line_text(const Token& token) { return "line " + std::to_string(token.line); }

Result<double> read_expression(const std::vector<Token>& tokens, std::size_t& at,
                               const Values& names) {
  return Expression(tokens, at, names).sum();
}

Result<double> value_of_expression(std::string_view text) {
  const auto tokens = tokens_of(text);
  if (!tokens) return tokens.error();
  std::size_t at = 0;
  auto value = read_expression(*tokens, at, {});
  if (!value) return value;
  if ((*tokens)[at].kind != Token::Kind::end)
    return Error{ErrorCode::usage, "line 1: expected the end, found " + shown((*tokens)[at]), 0};
  return value;
}

}  // namespace micro_swarm::quantum
