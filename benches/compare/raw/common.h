/* What the programs share: end loudly on the first thing that fails. */
#ifndef COMMON_H
#define COMMON_H

#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <zmq.h>

static inline void check(int good, const char *doing)
{
    if (!good) {
        fprintf(stderr, "cannot %s: %s\n", doing, zmq_strerror(zmq_errno()));
        exit(1);
    }
}

static inline void *open_socket(void *context, int kind, const char *endpoint, int bind)
{
    int none = 0;
    void *socket = zmq_socket(context, kind);
    check(socket != NULL, "make a socket");
    /* Nothing is lost at a high-water mark: what is in flight is bounded by the window. */
    check(zmq_setsockopt(socket, ZMQ_SNDHWM, &none, sizeof none) == 0, "set SNDHWM");
    check(zmq_setsockopt(socket, ZMQ_RCVHWM, &none, sizeof none) == 0, "set RCVHWM");
    check((bind ? zmq_bind : zmq_connect)(socket, endpoint) == 0, bind ? "bind" : "connect");
    return socket;
}

static inline double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double) now.tv_sec + (double) now.tv_nsec / 1e9;
}

static inline int is_readable(void *socket)
{
    int events;
    size_t size = sizeof events;
    check(zmq_getsockopt(socket, ZMQ_EVENTS, &events, &size) == 0, "look for more");
    return events & ZMQ_POLLIN;
}

/* Who starts this waits for such a line. */
static inline void say(const char *what)
{
    puts(what);
    fflush(stdout);
}

/* Moves one whole message, frame by frame, without a copy. */
static inline void forward(void *from, void *to)
{
    int more;
    do {
        zmq_msg_t frame;
        zmq_msg_init(&frame);
        check(zmq_msg_recv(&frame, from, 0) >= 0, "receive");
        more = zmq_msg_more(&frame);
        check(zmq_msg_send(&frame, to, more ? ZMQ_SNDMORE : 0) >= 0, "send");
    } while (more);
}

#endif
