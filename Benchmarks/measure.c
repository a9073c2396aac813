// Runs a program from start to end and says what it took, as the operating system accounts for it:
// one line after the program's own output with wall seconds, CPU seconds, peak KiB of memory and
// blocks of 512 bytes written. A process's peak begins with what its parent held, so the parent of
// those that are measured is this, not Python.
//
// Usage: measure LONGEST_SECONDS PROGRAM [ARGUMENT ...]
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static double seconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec + now.tv_nsec / 1e9;
}

int main(int argc, char** argv) {
  if (argc < 3) return 2;
  double started = seconds();
  pid_t child = fork();
  if (child == 0) {
    alarm(atoi(argv[1]));  // outlives exec, and ends what hangs
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    execvp(argv[2], argv + 2);
    perror(argv[2]);
    _exit(127);
  }
  int status;
  struct rusage usage;
  if (child < 0 || wait4(child, &status, 0, &usage) != child) return 2;
  double wall = seconds() - started;
  double cpu = usage.ru_utime.tv_sec + usage.ru_stime.tv_sec +
               (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
  if (WIFSIGNALED(status)) fprintf(stderr, "%s: killed by signal %d\n", argv[2], WTERMSIG(status));
  printf("%f %f %ld %ld\n", wall, cpu, usage.ru_maxrss, usage.ru_oublock);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 2;
}
