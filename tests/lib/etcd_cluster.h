/*
 * Three real members of etcd on loopback ports, below a folder of their own, for tests of the
 * engine. They end with the process. Everything here blocks: from a fiber, through cfs_offload().
 */
#ifndef CFS_TESTS_LIB_ETCD_CLUSTER_H
#define CFS_TESTS_LIB_ETCD_CLUSTER_H

#include <stdbool.h>
#include <sys/types.h>

#define ETCD_MEMBERS 3

struct etcd_cluster {
	char dir[64];
	int client_port[ETCD_MEMBERS], peer_port[ETCD_MEMBERS];
	pid_t pid[ETCD_MEMBERS]; /* 0: not running */
	char urls[128];          /* as --control takes them, behind "etcd:" */
};

/* 0, or -1 with a line on stderr: no program etcd (Debian: etcd-server and etcd-client). */
int etcd_cluster_start(struct etcd_cluster *c);
void etcd_cluster_stop(struct etcd_cluster *c); /* and removes the folder */

int etcd_member_start(struct etcd_cluster *c, int i);
void etcd_member_kill(struct etcd_cluster *c, int i); /* SIGKILL; fine if it is not running */
/* Runs "etcdctl @args" against all members; its output's beginning. Exit code 0 or -1. */
int etcd_ctl(struct etcd_cluster *c, const char *args, char *out, int out_bytes);
/* Waits until one of those that run leads; its number, or -1 after 20 s. */
int etcd_leader(struct etcd_cluster *c);

#endif
