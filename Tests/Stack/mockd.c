// librdkafka's mock cluster as a process of its own, for faults that a real broker cannot be made to show on demand.
//
// Prints the bootstrap servers, then answers each command on standard input with "ok" or "bad"; ends with its input.
//   create TOPIC PARTITIONS | leader TOPIC PARTITION BROKER | down BROKER | up BROKER | rtt BROKER MILLISECONDS
//   errors APIKEY ERROR...      the next requests of this kind get these error codes
#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int serve(rd_kafka_mock_cluster_t *cluster, char *line) {
  char topic[256];
  int first, second, length;
  if (sscanf(line, "create %255s %d", topic, &first) == 2) return !rd_kafka_mock_topic_create(cluster, topic, first, 1);
  if (sscanf(line, "leader %255s %d %d", topic, &first, &second) == 3)
    return !rd_kafka_mock_partition_set_leader(cluster, topic, first, second);
  if (sscanf(line, "down %d", &first) == 1) return !rd_kafka_mock_broker_set_down(cluster, first);
  if (sscanf(line, "up %d", &first) == 1) return !rd_kafka_mock_broker_set_up(cluster, first);
  if (sscanf(line, "rtt %d %d", &first, &second) == 2) return !rd_kafka_mock_broker_set_rtt(cluster, first, second);
  if (sscanf(line, "errors %d%n", &first, &length) == 1) {
    rd_kafka_resp_err_t errors[64];
    size_t count = 0;
    for (char *word = strtok(line + length, " \n"); word && count < 64; word = strtok(NULL, " \n")) errors[count++] = atoi(word);
    rd_kafka_mock_push_request_errors_array(cluster, first, count, errors);
    return 1;
  }
  return 0;
}

int main(void) {
  char text[512], line[4096];
  rd_kafka_t *client = rd_kafka_new(RD_KAFKA_PRODUCER, rd_kafka_conf_new(), text, sizeof text);
  rd_kafka_mock_cluster_t *cluster = client ? rd_kafka_mock_cluster_new(client, 3) : NULL;
  if (!cluster) {
    fprintf(stderr, "mockd: no cluster\n");
    return 1;
  }
  printf("%s\n", rd_kafka_mock_cluster_bootstraps(cluster));
  fflush(stdout);
  while (fgets(line, sizeof line, stdin)) {
    puts(serve(cluster, line) ? "ok" : "bad");
    fflush(stdout);
  }
  rd_kafka_mock_cluster_destroy(cluster);
  rd_kafka_destroy(client);
  return 0;
}
