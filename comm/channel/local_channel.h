#ifndef CONCLAVE_COMM_CHANNEL_LOCAL_CHANNEL_H_
#define CONCLAVE_COMM_CHANNEL_LOCAL_CHANNEL_H_

#include <memory>
#include <utility>

#include "comm/channel/channel.h"

namespace conclave::comm {

// A connected pair inside one process. The peer's callbacks run on a thread of its own.
std::pair<std::unique_ptr<Channel>, std::unique_ptr<ChannelPeer>> make_local_channel();

}  // namespace conclave::comm

#endif  // CONCLAVE_COMM_CHANNEL_LOCAL_CHANNEL_H_
