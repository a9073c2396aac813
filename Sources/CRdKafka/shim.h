// What Swift cannot call by itself: variadic functions and macros, as typed functions. Everything
// else is librdkafka's own header.
#ifndef TRANCHE_CRDKAFKA_SHIM_H
#define TRANCHE_CRDKAFKA_SHIM_H

#include <librdkafka/rdkafka.h>
#include <sys/eventfd.h>

/// A counter that librdkafka's threads can wake us by; Swift's Glibc has no eventfd. Below 0: errno
/// says why.
static inline int tranche_eventfd(void) { return eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC); }

/// Queues one message and copies its bytes. A null key or value is a null pointer; a timestamp
/// below 0 means now.
static inline rd_kafka_resp_err_t tranche_produce(rd_kafka_t* producer, const char* topic,
                                                  int32_t partition, const void* key,
                                                  size_t keyByteCount, const void* value,
                                                  size_t valueByteCount,
                                                  int64_t timestampMilliseconds) {
  return rd_kafka_producev(
      producer, RD_KAFKA_V_TOPIC(topic), RD_KAFKA_V_PARTITION(partition),
      RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_KEY(key, keyByteCount),
      RD_KAFKA_V_VALUE((void*)value, valueByteCount),
      RD_KAFKA_V_TIMESTAMP(timestampMilliseconds < 0 ? 0 : timestampMilliseconds), RD_KAFKA_V_END);
}

#endif
