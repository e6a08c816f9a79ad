#pragma once

// Hold: a right to read that its holder has written down. Writer: the holder, alone.
//
// `token` 0 = empty. `via` = where the token is being passed, meaningless while token is 0.
// A hold counts  <=>  token != 0 and not (via != 0 and the slot that via names is published).
// The order of stores of every operation is in ipc/transfer.hpp; what each kill leaves and who
// repairs it is in shm/recovery.hpp; shown by tests/sweep/.

#include <type_traits>

#include "shm/atomics.hpp"

namespace micro_swarm {

struct Hold {
  Word token;
  Word via;
};
static_assert(sizeof(Hold) == 16 && std::is_standard_layout_v<Hold> &&
              std::is_trivially_destructible_v<Hold>);

}  // namespace micro_swarm
