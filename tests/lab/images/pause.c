/* Holds a pod's namespaces open: waits for its end and reaps the children that the kernel hands to it as the
 * first process. The upstream pause does the same, and tells its version for -v: `kubeadm upgrade plan` runs that as a
 * Job, to see whether the cluster still runs something. */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static void end(int signal) {
	(void)signal;
	_exit(0);
}

static void reap(int signal) {
	(void)signal;
	while (waitpid(-1, 0, WNOHANG) > 0) {
	}
}

int main(int count, char **arguments) {
	if (count > 1 && strcmp(arguments[1], "-v") == 0) {
		puts("pause of the lab");
		return 0;
	}
	signal(SIGINT, end);
	signal(SIGTERM, end);
	signal(SIGCHLD, reap);
	for (;;) {
		pause();
	}
}
