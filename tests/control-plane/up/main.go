// Command up runs a Kubernetes control plane for tests: etcd, kube-apiserver, kube-controller-manager and kube-scheduler on free loopback
// ports, and a stand-in for the kubelets. It seeds the cluster, prints one line of JSON when everything is ready, and takes everything down
// again, without a trace, when its standard input closes or it is told to end.
//
// With --kubeconfig it runs nothing and only seeds that cluster, which must be marked as disposable.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"syscall"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/tools/clientcmd"
)

// Starting takes 4 s on two idle cores. The rest is for a busy CI machine; a cluster that is not ready by then never will be.
const startLimit = 2 * time.Minute

type options struct {
	bin, seed, kubeconfig, image string
	taintEviction                bool
	tolerationSeconds            int
}

// ready is what up prints once.
type ready struct {
	Kubeconfig string `json:"kubeconfig"`
	Context    string `json:"context"`
	// BotContext is the service user that has no rights before a test grants them; absent for somebody else's cluster.
	BotContext string `json:"botContext,omitempty"`
	PID        int    `json:"pid"`
	// Nodes says which node of the cluster plays each node of the seed.
	Nodes map[string]string `json:"nodes"`
}

// Children are killed when the thread that started them ends, so all are started by the main thread, which lives as long as the process.
func init() { runtime.LockOSThread() }

func main() {
	log.SetFlags(0)
	log.SetPrefix("control-plane: ")
	var o options
	flag.StringVar(&o.bin, "bin", "", "directory of the Kubernetes binaries (default: where this program is)")
	flag.StringVar(&o.seed, "seed", "", "JSON `file` with a List of manifests to seed the cluster with; - reads standard input")
	flag.StringVar(&o.kubeconfig, "kubeconfig", "", "seed the current context of this `file` instead of starting a cluster")
	flag.StringVar(&o.image, "image", "busybox:1.37", "with --kubeconfig: the image that containers run, for the seed's own cannot be pulled")
	flag.BoolVar(&o.taintEviction, "taint-eviction", false, "taint unreachable nodes (after 6 s) and evict their pods")
	flag.IntVar(&o.tolerationSeconds, "toleration-seconds", 300, "what pods tolerate of not-ready and unreachable nodes by default")
	flag.Parse()
	if flag.NArg() > 0 {
		log.Fatalf("unexpected argument %q (see --help)", flag.Arg(0))
	}
	if err := run(o); err != nil {
		log.Fatal(err)
	}
}

func run(o options) error {
	signalled, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	defer stop()
	stdin := bufio.NewReader(os.Stdin)
	manifests, err := readSeed(o.seed, stdin)
	if err != nil {
		return fmt.Errorf("seed %s: %w", o.seed, err)
	}
	if o.kubeconfig != "" {
		return seedOther(signalled, o, manifests)
	}
	ctx, cancel := context.WithCancelCause(signalled)
	defer cancel(nil)
	go func() {
		_, _ = io.Copy(io.Discard, stdin)
		cancel(errClosed)
	}()
	err = serve(ctx, cancel, o, manifests)
	if signalled.Err() != nil {
		return nil
	}
	return err
}

// The ordinary end, but to somebody who gave no standard input it must say why there is no cluster.
var errClosed = errors.New("standard input was closed before the cluster was ready; keep it open for as long as the cluster shall run")

// serve runs a cluster until ctx ends.
func serve(ctx context.Context, cancel context.CancelCauseFunc, o options, manifests []unstructured.Unstructured) (err error) {
	if o.bin == "" {
		self, err := os.Executable()
		if err != nil {
			return err
		}
		o.bin = filepath.Dir(self)
	}
	starting, started := context.WithTimeoutCause(ctx, startLimit, fmt.Errorf("not ready after %v", startLimit))
	defer started()
	p, err := newPlane(cancel)
	if err != nil {
		return err
	}
	announced := false
	defer func() {
		// What was cut off by the end says less well why it ended. From here on the end of a child is no news.
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		if announced && errors.Is(err, errClosed) {
			err = nil
		}
		cancel(err)
		p.stop()
	}()
	config, err := p.start(starting, ctx, o)
	if err != nil {
		return err
	}
	s := seeder{ours: true}
	if err := s.seed(starting, config, manifests); err != nil {
		return err
	}
	started()
	announce(ready{Kubeconfig: p.path("kubeconfig"), Context: adminContext, BotContext: botContext, PID: os.Getpid(), Nodes: s.nodes})
	announced = true
	<-ctx.Done()
	return nil
}

func seedOther(ctx context.Context, o options, manifests []unstructured.Unstructured) error {
	ctx, cancel := context.WithTimeoutCause(ctx, startLimit, fmt.Errorf("not ready after %v", startLimit))
	defer cancel()
	raw, err := clientcmd.LoadFromFile(o.kubeconfig)
	if err != nil {
		return err
	}
	config, err := clientcmd.NewDefaultClientConfig(*raw, &clientcmd.ConfigOverrides{}).ClientConfig()
	if err != nil {
		return err
	}
	s := seeder{image: o.image}
	if err := s.seed(ctx, config, manifests); err != nil {
		return err
	}
	announce(ready{Kubeconfig: o.kubeconfig, Context: raw.CurrentContext, PID: os.Getpid(), Nodes: s.nodes})
	return nil
}

func announce(r ready) {
	if err := json.NewEncoder(os.Stdout).Encode(r); err != nil {
		log.Fatal(err)
	}
}

func readSeed(from string, stdin io.Reader) ([]unstructured.Unstructured, error) {
	var source io.Reader
	switch from {
	case "":
		return nil, nil
	case "-":
		source = stdin
	default:
		file, err := os.Open(from)
		if err != nil {
			return nil, err
		}
		defer file.Close()
		source = file
	}
	// A List's items may be anything, so they are kept as they are.
	var list struct {
		Kind  string
		Items []map[string]any
	}
	if err := json.NewDecoder(source).Decode(&list); err != nil {
		return nil, err
	}
	if list.Kind != "List" {
		return nil, fmt.Errorf("kind %q is not List", list.Kind)
	}
	var all []unstructured.Unstructured
	for _, item := range list.Items {
		all = append(all, unstructured.Unstructured{Object: item})
	}
	return all, nil
}
