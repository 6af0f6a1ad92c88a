/*
 * Real members of etcd on loopback ports, below a folder of their own, for tests of the engine.
 * They end with the process. What asks them blocks: from a fiber, through cfs_offload().
 */
#ifndef CFS_TESTS_LIB_ETCD_CLUSTER_H
#define CFS_TESTS_LIB_ETCD_CLUSTER_H

#include <stdbool.h>
#include <sys/types.h>

#define ETCD_MEMBERS_MAX 3

struct etcd_cluster {
	int members;
	bool is_tls; /* for clients, with DIR/tls/ca.pem; they show cert.pem and key.pem there */
	char dir[64];
	int client_port[ETCD_MEMBERS_MAX], peer_port[ETCD_MEMBERS_MAX];
	pid_t pid[ETCD_MEMBERS_MAX]; /* 0: not running */
	char urls[128];              /* as --control takes them, behind "etcd:" */
};

/* Does not wait. 0, or -1 with a line on stderr: no program etcd (Debian: etcd-server and
 * etcd-client). */
int etcd_cluster_start(struct etcd_cluster *c, int members, bool is_tls);
void etcd_cluster_stop(struct etcd_cluster *c); /* and removes the folder */

int etcd_member_start(struct etcd_cluster *c, int i); /* ends with the calling thread */
void etcd_member_kill(struct etcd_cluster *c, int i); /* SIGKILL; fine if it is not running */
/* Runs "etcdctl @args" against all members; its output's beginning. 0: its exit code was; -1. */
int etcd_ctl(struct etcd_cluster *c, const char *args, char *out, int out_bytes);
/* Waits until one of those that run leads; its number, or -1 after 20 s. */
int etcd_leader(struct etcd_cluster *c);

#endif
