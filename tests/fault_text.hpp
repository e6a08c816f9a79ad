#pragma once

#include <string>

#include "common/result.hpp"

namespace micro_swarm {

/// For BOOST_REQUIRE_MESSAGE(result.has_value(), fault_text(result)).
template <class T>
std::string fault_text(const Result<T>& result) {
  return result.has_error() ? result.error().message : std::string("no error");
}

}  // namespace micro_swarm
