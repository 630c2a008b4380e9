/*
 * bulk push ENDPOINT                stdin in messages of 256 KiB by PUSH, and an empty one at its end
 * bulk pull ENDPOINT                takes them by PULL, hashes nothing, prints how many bytes there were
 * bulk front TO FROM                push, and at once what comes back from FROM to stdout
 * bulk back FROM TO -- CMD…         the other end: what comes from FROM goes to CMD's stdin, its stdout to TO
 *
 * front binds, back connects; pull binds, push connects. At most 16 messages wait at each end of a connection: a window
 * of 4 MiB, as a Hit has.
 */
#include "common.h"

#include <pthread.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define CHUNK_BYTES (256 * 1024)
#define CHUNKS_MAX 16

static void *bounded(void *context, int kind, const char *endpoint, int bind)
{
    int most = CHUNKS_MAX;
    void *socket = zmq_socket(context, kind);
    check(socket != NULL, "make a socket");
    check(zmq_setsockopt(socket, ZMQ_SNDHWM, &most, sizeof most) == 0, "set SNDHWM");
    check(zmq_setsockopt(socket, ZMQ_RCVHWM, &most, sizeof most) == 0, "set RCVHWM");
    check((bind ? zmq_bind : zmq_connect)(socket, endpoint) == 0, bind ? "bind" : "connect");
    return socket;
}

static void read_to(int fd, void *socket)
{
    for (;;) {
        zmq_msg_t chunk;
        check(zmq_msg_init_size(&chunk, CHUNK_BYTES) == 0, "allocate");
        ssize_t got = read(fd, zmq_msg_data(&chunk), CHUNK_BYTES);
        check(got >= 0, "read");
        if (got < CHUNK_BYTES) {
            /* A pipe gives less than a chunk: what it gave is sent without another copy of more than that. */
            zmq_msg_t part;
            check(zmq_msg_init_size(&part, (size_t) got) == 0, "allocate");
            memcpy(zmq_msg_data(&part), zmq_msg_data(&chunk), (size_t) got);
            zmq_msg_close(&chunk);
            check(zmq_msg_send(&part, socket, 0) >= 0, "send");
            if (got == 0)
                return;
        } else {
            check(zmq_msg_send(&chunk, socket, 0) >= 0, "send");
        }
    }
}

/* Until the empty message; returns the bytes before it. With fd -1 they go nowhere. */
static double write_from(void *socket, int fd)
{
    double bytes = 0;
    for (;;) {
        zmq_msg_t chunk;
        zmq_msg_init(&chunk);
        check(zmq_msg_recv(&chunk, socket, 0) >= 0, "receive");
        size_t size = zmq_msg_size(&chunk);
        for (size_t done = 0; fd >= 0 && done < size;) {
            ssize_t put = write(fd, (char *) zmq_msg_data(&chunk) + done, size - done);
            check(put > 0, "write");
            done += (size_t) put;
        }
        zmq_msg_close(&chunk);
        if (size == 0)
            return bytes;
        bytes += (double) size;
    }
}

struct end {
    int fd;
    void *socket;
};

static void *reader(void *argument)
{
    struct end *end = argument;
    read_to(end->fd, end->socket);
    return NULL;
}

static double both_ways(int from_fd, void *to, void *from, int to_fd)
{
    struct end end = {from_fd, to};
    pthread_t thread;
    check(pthread_create(&thread, NULL, reader, &end) == 0, "start a thread");
    double bytes = write_from(from, to_fd);
    if (to_fd > 2)
        close(to_fd);
    check(pthread_join(thread, NULL) == 0, "join a thread");
    return bytes;
}

static double back(void *from, void *to, char **command)
{
    int in[2], out[2];
    check(pipe(in) == 0 && pipe(out) == 0, "make pipes");
    pid_t pid = fork();
    check(pid >= 0, "fork");
    if (pid == 0) {
        dup2(in[0], 0);
        dup2(out[1], 1);
        close(in[0]), close(in[1]), close(out[0]), close(out[1]);
        execvp(command[0], command);
        _exit(127);
    }
    close(in[0]), close(out[1]);
    double bytes = both_ways(out[0], to, from, in[1]);
    waitpid(pid, NULL, 0);
    return bytes;
}

int main(int argc, char **argv)
{
    void *context = zmq_ctx_new();
    double bytes;
    if (argc == 3 && strcmp(argv[1], "push") == 0) {
        void *push = bounded(context, ZMQ_PUSH, argv[2], 0);
        read_to(0, push);
        zmq_close(push);
        zmq_ctx_term(context);
        return 0;
    } else if (argc == 3 && strcmp(argv[1], "pull") == 0) {
        void *pull = bounded(context, ZMQ_PULL, argv[2], 1);
        say("ready");
        bytes = write_from(pull, -1);
        printf("%.0f\n", bytes);
    } else if (argc == 4 && strcmp(argv[1], "front") == 0) {
        void *to = bounded(context, ZMQ_PUSH, argv[2], 1), *from = bounded(context, ZMQ_PULL, argv[3], 1);
        bytes = both_ways(0, to, from, 1);
        fprintf(stderr, "%.0f\n", bytes);
    } else if (argc > 5 && strcmp(argv[1], "back") == 0) {
        void *from = bounded(context, ZMQ_PULL, argv[2], 0), *to = bounded(context, ZMQ_PUSH, argv[3], 0);
        back(from, to, argv + 5);
        zmq_close(from);
        zmq_close(to);
        zmq_ctx_term(context);
    } else {
        fprintf(stderr, "usage: bulk push|pull ENDPOINT | front TO FROM | back FROM TO -- CMD...\n");
        return 2;
    }
    return 0;
}
