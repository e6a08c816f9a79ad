#pragma once

// The functions behind the table, by file. Private to this folder.

#include "agentproc/operations/operations.hpp"

namespace micro_swarm::operations {

// bytes.cpp
Result<void> bytes_hash(std::string_view parameters, Pieces data, Output& output);
Result<void> bytes_compress(std::string_view parameters, Pieces data, Output& output);
Result<void> bytes_decompress(std::string_view parameters, Pieces data, Output& output);
Result<void> bytes_histogram(std::string_view parameters, Pieces data, Output& output);

// tensors.cpp: values in, values out
Result<void> tensor_map(std::string_view parameters, Pieces data, Output& output);
Result<void> tensor_filter(std::string_view parameters, Pieces data, Output& output);
Result<void> tensor_convert(std::string_view parameters, Pieces data, Output& output);

// summaries.cpp: values in, JSON out
Result<void> tensor_reduce(std::string_view parameters, Pieces data, Output& output);
Result<void> tensor_statistics(std::string_view parameters, Pieces data, Output& output);
Result<void> tensor_histogram(std::string_view parameters, Pieces data, Output& output);

}  // namespace micro_swarm::operations
