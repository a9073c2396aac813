// The limit that Tranche is held against: reads a topic with librdkafka's batch API, parses two integers a message, sums the second by the
// first, and writes the sums as CSV. No checkpoint, no windows, no errors handled but by ending.
//
// Usage: limit BROKERS TOPIC PARTITIONS OUTPUT QUEUE_KBYTES
#include <librdkafka/rdkafka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { idLimit = 1 << 16, chunkSize = 4096 };

static long long sums[idLimit], counts[idLimit];

static void check(int isGood, const char *what) {
  if (!isGood) {
    fprintf(stderr, "limit: %s\n", what);
    exit(1);
  }
}

static long long integer(const char **text, const char *end) {
  long long number = 0;
  while (*text < end && **text >= '0' && **text <= '9') number = number * 10 + *(*text)++ - '0';
  return number;
}

int main(int argc, char **argv) {
  check(argc == 6, "usage: limit BROKERS TOPIC PARTITIONS OUTPUT QUEUE_KBYTES");
  int partitionCount = atoi(argv[3]);
  char text[512];
  rd_kafka_conf_t *conf = rd_kafka_conf_new();
  const char *settings[][2] = {
      {"bootstrap.servers", argv[1]},   {"group.id", "limit"},          {"enable.auto.commit", "false"},
      {"auto.offset.reset", "error"},   {"fetch.wait.max.ms", "10"},    {"queued.min.messages", "1000000"},
      {"fetch.queue.backoff.ms", "5"},  {"check.crcs", "true"},         {"queued.max.messages.kbytes", argv[5]},
      {"fetch.max.bytes", "16777216"},  {"fetch.message.max.bytes", "1048576"}};
  for (size_t i = 0; i < sizeof settings / sizeof *settings; i++)
    rd_kafka_conf_set(conf, settings[i][0], settings[i][1], text, sizeof text);  // an unknown one is passed over
  rd_kafka_t *client = rd_kafka_new(RD_KAFKA_CONSUMER, conf, text, sizeof text);
  check(client != NULL, text);

  rd_kafka_topic_partition_list_t *ends = rd_kafka_topic_partition_list_new(partitionCount);
  for (int p = 0; p < partitionCount; p++) rd_kafka_topic_partition_list_add(ends, argv[2], p)->offset = -1;
  check(!rd_kafka_offsets_for_times(client, ends, 20000), "the ends are unknown");
  rd_kafka_topic_partition_list_t *assignment = rd_kafka_topic_partition_list_new(partitionCount);
  long long left = 0;
  for (int p = 0; p < partitionCount; p++) {
    left += ends->elems[p].offset;
    rd_kafka_topic_partition_list_add(assignment, argv[2], p)->offset = 0;
  }
  check(!rd_kafka_assign(client, assignment), "the topic cannot be assigned");

  rd_kafka_queue_t *queue = rd_kafka_queue_get_consumer(client);
  rd_kafka_message_t *messages[chunkSize];
  long long records = 0;
  while (left > 0) {
    long long wanted = left < chunkSize ? left : chunkSize;
    ssize_t received = rd_kafka_consume_batch_queue(queue, 0, messages, wanted);
    if (received == 0) received = rd_kafka_consume_batch_queue(queue, 100, messages, 1);
    for (ssize_t i = 0; i < received; i++) {
      rd_kafka_message_t *message = messages[i];
      if (!message->err) {
        const char *at = message->payload, *end = at + message->len;
        long long id = integer(&at, end);
        at++;
        check(id < idLimit, "an id is too large");
        sums[id] += integer(&at, end);
        counts[id]++;
        records++;
        left--;
      }
      rd_kafka_message_destroy(message);
    }
  }
  FILE *output = fopen(argv[4], "w");
  check(output != NULL, "the output cannot be written");
  fprintf(output, "api_id,calls,time_taken\n");
  for (int id = 0; id < idLimit; id++)
    if (counts[id]) fprintf(output, "%d,%lld,%lld\n", id, counts[id], sums[id]);
  fclose(output);
  printf("%lld\n", records);
  fflush(stdout);
  _Exit(0);
}
