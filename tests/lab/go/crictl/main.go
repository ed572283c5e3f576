// A small crictl for the lab, for machines that cannot fetch the real one, whose module is not on every
// proxy. It speaks the same CRI, takes the same subcommands and prints the same JSON for the subset that
// kubewright and its tests use:
//
//	crictl [-r endpoint] version|info
//	crictl ps [-a] [-q] [-o json] [--name expression] [--label k=v]... [--state running|exited]
//	crictl pods [-q] [-o json] [--name expression] [--namespace expression] [--label k=v]...
//	crictl inspect|inspectp ID        crictl images [-q] [-o json]
//	crictl pull|rmi IMAGE...          crictl stop [-t seconds]|rm [-f]|stopp|rmp [-f] ID...
//	crictl exec ID COMMAND...         (not interactive)
//
// Identifiers are whole with and without --no-trunc, and lists begin with the newest.
package main

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	internalapi "k8s.io/cri-api/pkg/apis"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
	remote "k8s.io/cri-client/pkg"
)

// The kubelet's own limit for one CRI call is two minutes; pulling is the only call that comes near it.
const callTimeout = 2 * time.Minute

type client struct {
	runtime internalapi.RuntimeService
	images  internalapi.ImageManagerService
}

type options struct {
	all, quiet, force bool
	output            string
	name, namespace   expression
	labels            labels
	state             string
	timeout           int64
}

// expression fits everything until it is set.
type expression struct{ *regexp.Regexp }

func (e *expression) String() string { return "" }

func (e *expression) Set(text string) (err error) {
	e.Regexp, err = regexp.Compile(text)
	return err
}

func (e *expression) fits(text string) bool {
	return e.Regexp == nil || e.MatchString(text)
}

// labels that all have to be there.
type labels map[string]string

func (l labels) String() string { return "" }

func (l labels) Set(text string) error {
	key, value, found := strings.Cut(text, "=")
	if !found {
		return fmt.Errorf("%q is not key=value", text)
	}
	l[key] = value
	return nil
}

func main() {
	endpoint := os.Getenv("CONTAINER_RUNTIME_ENDPOINT")
	if endpoint == "" {
		endpoint = "unix:///run/containerd/containerd.sock"
	}
	flag.StringVar(&endpoint, "r", endpoint, "CRI endpoint")
	flag.StringVar(&endpoint, "runtime-endpoint", endpoint, "CRI endpoint")
	flag.Parse()
	if flag.NArg() == 0 {
		fmt.Fprintln(os.Stderr, "crictl: which command?")
		os.Exit(64)
	}
	runtime, err := remote.NewRemoteRuntimeService(endpoint, callTimeout, nil, nil)
	exitOn(err)
	images, err := remote.NewRemoteImageService(endpoint, callTimeout, nil, nil)
	exitOn(err)
	exitOn(client{runtime, images}.run(context.Background(), flag.Arg(0), flag.Args()[1:]))
}

func exitOn(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "crictl:", err)
		os.Exit(1)
	}
}

func (c client) run(ctx context.Context, command string, arguments []string) error {
	o := options{labels: labels{}}
	flags := flag.NewFlagSet(command, flag.ExitOnError)
	for _, name := range []string{"a", "all"} {
		flags.BoolVar(&o.all, name, false, "also those that have ended")
	}
	for _, name := range []string{"q", "quiet"} {
		flags.BoolVar(&o.quiet, name, false, "print identifiers only")
	}
	for _, name := range []string{"f", "force"} {
		flags.BoolVar(&o.force, name, false, "stop it first")
	}
	for _, name := range []string{"o", "output"} {
		flags.StringVar(&o.output, name, "table", "json or table")
	}
	for _, name := range []string{"t", "timeout"} {
		flags.Int64Var(&o.timeout, name, 0, "seconds of grace")
	}
	flags.Var(&o.name, "name", "regular expression")
	flags.Var(&o.namespace, "namespace", "regular expression")
	flags.Var(&o.labels, "label", "key=value")
	flags.Bool("no-trunc", true, "whole identifiers")
	flags.StringVar(&o.state, "state", "", "running, exited, created")
	if err := flags.Parse(arguments); err != nil {
		return err
	}
	rest := flags.Args()

	switch command {
	case "version":
		return show(c.runtime.Version(ctx, "v1"))
	case "info":
		return show(c.runtime.Status(ctx, true))
	case "ps":
		return c.containers(ctx, o)
	case "pods":
		return c.pods(ctx, o)
	case "images":
		list, err := c.images.ListImages(ctx, nil)
		if err != nil {
			return err
		}
		if o.output == "json" {
			return show(&runtimeapi.ListImagesResponse{Images: list}, nil)
		}
		for _, image := range list {
			fmt.Println(line(o.quiet, image.Id, strings.Join(image.RepoTags, ",")))
		}
		return nil
	case "exec":
		if len(rest) < 2 {
			return fmt.Errorf("exec needs a container and a command")
		}
		stdout, stderr, err := c.runtime.ExecSync(ctx, rest[0], rest[1:], callTimeout)
		_, _ = os.Stdout.Write(stdout)
		_, _ = os.Stderr.Write(stderr)
		return err
	}
	if len(rest) == 0 {
		return fmt.Errorf("%s needs at least one argument", command)
	}
	for _, id := range rest {
		if err := c.one(ctx, command, id, o); err != nil {
			return fmt.Errorf("%s %s: %w", command, id, err)
		}
	}
	return nil
}

// one runs the commands that take identifiers, one at a time.
func (c client) one(ctx context.Context, command, id string, o options) error {
	switch command {
	case "inspect":
		return show(c.runtime.ContainerStatus(ctx, id, true))
	case "inspectp":
		return show(c.runtime.PodSandboxStatus(ctx, id, true))
	case "stop":
		return c.runtime.StopContainer(ctx, id, o.timeout)
	case "rm":
		if o.force {
			if err := c.runtime.StopContainer(ctx, id, o.timeout); err != nil {
				return err
			}
		}
		return c.runtime.RemoveContainer(ctx, id)
	case "stopp":
		return c.runtime.StopPodSandbox(ctx, id)
	case "rmp":
		if o.force {
			if err := c.runtime.StopPodSandbox(ctx, id); err != nil {
				return err
			}
		}
		return c.runtime.RemovePodSandbox(ctx, id)
	case "rmi":
		return c.images.RemoveImage(ctx, &runtimeapi.ImageSpec{Image: id})
	case "pull":
		reference, err := c.images.PullImage(ctx, &runtimeapi.ImageSpec{Image: id}, nil, nil)
		if err == nil {
			fmt.Println("Image is up to date for", reference)
		}
		return err
	default:
		return fmt.Errorf("this crictl does not have the command %q", command)
	}
}

func (c client) containers(ctx context.Context, o options) error {
	filter := &runtimeapi.ContainerFilter{LabelSelector: o.labels}
	if state, ok := map[string]runtimeapi.ContainerState{
		"running": runtimeapi.ContainerState_CONTAINER_RUNNING,
		"exited":  runtimeapi.ContainerState_CONTAINER_EXITED,
		"created": runtimeapi.ContainerState_CONTAINER_CREATED,
	}[strings.ToLower(o.state)]; ok {
		filter.State = &runtimeapi.ContainerStateValue{State: state}
	} else if !o.all {
		filter.State = &runtimeapi.ContainerStateValue{State: runtimeapi.ContainerState_CONTAINER_RUNNING}
	}
	list, err := c.runtime.ListContainers(ctx, filter)
	if err != nil {
		return err
	}
	slices.SortStableFunc(list, func(a, b *runtimeapi.Container) int { return cmp.Compare(b.CreatedAt, a.CreatedAt) })
	answer := &runtimeapi.ListContainersResponse{}
	for _, container := range list {
		if o.name.fits(container.Metadata.GetName()) {
			answer.Containers = append(answer.Containers, container)
		}
	}
	if o.output == "json" {
		return show(answer, nil)
	}
	for _, container := range answer.Containers {
		fmt.Println(line(o.quiet, container.Id, container.Metadata.GetName(), container.State.String(),
			container.PodSandboxId))
	}
	return nil
}

func (c client) pods(ctx context.Context, o options) error {
	list, err := c.runtime.ListPodSandbox(ctx, &runtimeapi.PodSandboxFilter{LabelSelector: o.labels})
	if err != nil {
		return err
	}
	slices.SortStableFunc(list, func(a, b *runtimeapi.PodSandbox) int { return cmp.Compare(b.CreatedAt, a.CreatedAt) })
	answer := &runtimeapi.ListPodSandboxResponse{}
	for _, pod := range list {
		if o.name.fits(pod.Metadata.GetName()) && o.namespace.fits(pod.Metadata.GetNamespace()) {
			answer.Items = append(answer.Items, pod)
		}
	}
	if o.output == "json" {
		return show(answer, nil)
	}
	for _, pod := range answer.Items {
		fmt.Println(line(o.quiet, pod.Id, pod.Metadata.GetNamespace()+"/"+pod.Metadata.GetName(), pod.State.String()))
	}
	return nil
}

func line(quiet bool, id string, columns ...string) string {
	if quiet {
		return id
	}
	return strings.Join(append([]string{id}, columns...), "\t")
}

// show prints a CRI answer as the real crictl does: protobuf's JSON mapping with empty fields kept.
func show(answer proto.Message, err error) error {
	if err != nil {
		return err
	}
	text, err := protojson.MarshalOptions{EmitUnpopulated: true, Multiline: true}.Marshal(answer)
	if err == nil {
		fmt.Println(string(text))
	}
	return err
}
