// The limit that Tranche is held against: reads a topic with librdkafka's batch API and does the
// least that is of use with it. No checkpoint, no windows, no errors handled but by ending. `sum`
// parses two integers a message, sums the second by the first and writes the sums as CSV; `bytes`
// counts bytes and looks into none.
//
// Usage: limit sum|bytes BROKERS TOPIC PARTITIONS MOST_RECORDS OUTPUT [PROPERTY=VALUE ...]
#include <librdkafka/rdkafka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { idLimit = 1 << 16, chunkSize = 4096 };

static long long sums[idLimit], counts[idLimit], byteCount;

static void check(int isGood, const char* what) {
  if (!isGood) {
    fprintf(stderr, "limit: %s\n", what);
    exit(1);
  }
}

static long long integer(const char** text, const char* end) {
  long long number = 0;
  while (*text < end && **text >= '0' && **text <= '9') number = number * 10 + *(*text)++ - '0';
  return number;
}

static void add(const rd_kafka_message_t* message) {
  const char *at = message->payload, *end = at + message->len;
  long long id = integer(&at, end);
  at++;
  check(id < idLimit, "an id is too large");
  sums[id] += integer(&at, end);
  counts[id]++;
}

static rd_kafka_t* consumer(const char* brokers, char** properties, int propertyCount) {
  char text[512];
  rd_kafka_conf_t* conf = rd_kafka_conf_new();
  const char* settings[][2] = {{"bootstrap.servers", brokers},  {"group.id", "limit"},
                               {"enable.auto.commit", "false"}, {"auto.offset.reset", "error"},
                               {"check.crcs", "true"},          {"fetch.wait.max.ms", "10"},
                               {"fetch.queue.backoff.ms", "1"}};
  for (size_t i = 0; i < sizeof settings / sizeof *settings; i++)
    rd_kafka_conf_set(conf, settings[i][0], settings[i][1], text,
                      sizeof text);  // one that an older release does not know is passed over
  for (int i = 0; i < propertyCount; i++) {
    char* value = strchr(properties[i], '=');
    check(value != NULL, "a property is NAME=VALUE");
    *value++ = 0;
    check(rd_kafka_conf_set(conf, properties[i], value, text, sizeof text) == RD_KAFKA_CONF_OK,
          text);
  }
  rd_kafka_t* client = rd_kafka_new(RD_KAFKA_CONSUMER, conf, text, sizeof text);
  check(client != NULL, text);
  return client;
}

/// Begins to read every partition at offset 0; returns how many records there are.
static long long assign(rd_kafka_t* client, const char* topic, int partitionCount) {
  rd_kafka_topic_partition_list_t* ends = rd_kafka_topic_partition_list_new(partitionCount);
  rd_kafka_topic_partition_list_t* starts = rd_kafka_topic_partition_list_new(partitionCount);
  for (int p = 0; p < partitionCount; p++) {
    rd_kafka_topic_partition_list_add(ends, topic, p)->offset = -1;
    rd_kafka_topic_partition_list_add(starts, topic, p)->offset = 0;
  }
  check(!rd_kafka_offsets_for_times(client, ends, 20000), "the ends are unknown");
  long long count = 0;
  for (int p = 0; p < partitionCount; p++) count += ends->elems[p].offset;
  check(!rd_kafka_assign(client, starts), "the topic cannot be assigned");
  return count;
}

int main(int argc, char** argv) {
  check(argc >= 7,
        "usage: limit sum|bytes BROKERS TOPIC PARTITIONS MOST_RECORDS OUTPUT [PROPERTY=VALUE ...]");
  int isSum = !strcmp(argv[1], "sum");
  rd_kafka_t* client = consumer(argv[2], argv + 7, argc - 7);
  long long left = assign(client, argv[3], atoi(argv[4])), most = atoll(argv[5]), records = 0;
  if (left > most) left = most;

  rd_kafka_queue_t* queue = rd_kafka_queue_get_consumer(client);
  rd_kafka_message_t* messages[chunkSize];
  while (left > 0) {
    // For one message only where it waits: asked for more, librdkafka waits out the whole time for
    // all of them.
    ssize_t received =
        rd_kafka_consume_batch_queue(queue, 0, messages, left < chunkSize ? left : chunkSize);
    if (received == 0) received = rd_kafka_consume_batch_queue(queue, 100, messages, 1);
    for (ssize_t i = 0; i < received; i++) {
      if (!messages[i]->err) {
        if (isSum) add(messages[i]);
        byteCount += messages[i]->len;
        records++;
        left--;
      }
      rd_kafka_message_destroy(messages[i]);
    }
  }

  FILE* output = fopen(argv[6], "w");
  check(output != NULL, "the output cannot be written");
  fprintf(output, isSum ? "api_id,calls,time_taken\n" : "bytes\n");
  if (!isSum) fprintf(output, "%lld\n", byteCount);
  for (int id = 0; id < idLimit; id++)
    if (counts[id]) fprintf(output, "%d,%lld,%lld\n", id, counts[id], sums[id]);
  fclose(output);
  printf("%lld\n", records);
  fflush(stdout);
  _Exit(0);
}
