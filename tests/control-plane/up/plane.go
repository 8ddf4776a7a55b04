package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"log"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"stanch.dev/control-plane/kubelet"
)

const (
	adminContext = "control-plane"
	botContext   = "control-plane-bot"
	// The bot is the service account its manifests are written for, so that a test applies them unchanged.
	botUser   = "system:serviceaccount:stanch:stanch"
	botGroups = "system:serviceaccounts,system:serviceaccounts:stanch"

	dirPrefix = "stanch-control-plane-"
	pollEvery = 50 * time.Millisecond
)

// plane is a control plane's processes, and the directory that holds all its files.
type plane struct {
	dir    string
	lock   *os.File
	cancel context.CancelCauseFunc
	// Every process that was started: its group is killed in the end.
	children []*exec.Cmd
	waits    sync.WaitGroup
}

func newPlane(cancel context.CancelCauseFunc) (*plane, error) {
	sweep()
	dir, err := os.MkdirTemp("", dirPrefix)
	if err != nil {
		return nil, err
	}
	p := &plane{dir: dir, cancel: cancel}
	// Held until this process ends, however it ends: that tells sweep of others whether the directory is in use.
	p.lock, err = os.Open(dir)
	if err == nil {
		err = syscall.Flock(int(p.lock.Fd()), syscall.LOCK_EX)
	}
	if err != nil {
		p.stop()
		return nil, err
	}
	return p, nil
}

// sweep removes the directories of those that were killed before they could do so.
func sweep() {
	all, _ := filepath.Glob(filepath.Join(os.TempDir(), dirPrefix+"*"))
	for _, dir := range all {
		info, err := os.Stat(dir)
		// One that is being made has no lock for a moment.
		if err != nil || time.Since(info.ModTime()) < time.Minute {
			continue
		}
		file, err := os.Open(dir)
		if err != nil {
			continue
		}
		if syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil {
			_ = os.RemoveAll(dir)
		}
		file.Close()
	}
}

func (p *plane) path(name string) string { return filepath.Join(p.dir, name) }

// start brings everything up and returns an administrator's access. Limited by starting, the kubelet then lives as long as serving does.
func (p *plane) start(starting, serving context.Context, o options) (*rest.Config, error) {
	ports, err := freePorts(2)
	if err != nil {
		return nil, err
	}
	admin, err := p.writeSecrets()
	if err != nil {
		return nil, err
	}
	etcd, server := fmt.Sprintf("http://127.0.0.1:%d", ports[0]), fmt.Sprintf("https://127.0.0.1:%d", ports[1])
	if err := p.launch("etcd", p.etcd(etcd)...); err != nil {
		return nil, err
	}
	if err := p.launch(filepath.Join(o.bin, "kube-apiserver"), p.apiserver(etcd, ports[1], o)...); err != nil {
		return nil, err
	}
	config, err := p.awaitServer(starting, server, admin)
	if err != nil {
		return nil, err
	}
	if err := p.launch(filepath.Join(o.bin, "kube-controller-manager"), p.controllers(o)...); err != nil {
		return nil, err
	}
	if err := p.launch(filepath.Join(o.bin, "kube-scheduler"), "--kubeconfig="+p.path("kubeconfig"), "--leader-elect=false", "--secure-port=0"); err != nil {
		return nil, err
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	go func() {
		if err := kubelet.Run(serving, client); err != nil {
			p.cancel(fmt.Errorf("kubelet: %w", err))
		}
	}()
	return config, nil
}

func (p *plane) etcd(client string) []string {
	// Port 0: its peers are never spoken to, for it has none. What it holds is thrown away, so it need not survive a power loss.
	peer := "http://127.0.0.1:0"
	return []string{
		"--data-dir=" + p.path("etcd"), "--listen-client-urls=" + client, "--advertise-client-urls=" + client, "--listen-peer-urls=" + peer,
		"--initial-advertise-peer-urls=" + peer, "--initial-cluster=default=" + peer, "--unsafe-no-fsync", "--logger=zap", "--log-level=warn",
	}
}

func (p *plane) apiserver(etcd string, port int, o options) []string {
	return []string{
		"--etcd-servers=" + etcd, "--bind-address=127.0.0.1", fmt.Sprintf("--secure-port=%d", port), "--cert-dir=" + p.path("certs"),
		// No real address is written into the cluster for its own service, so the loopback address may be the server's.
		"--advertise-address=127.0.0.1", "--endpoint-reconciler-type=none", "--service-cluster-ip-range=10.96.0.0/16",
		"--authorization-mode=RBAC", "--token-auth-file=" + p.path("tokens.csv"), "--anonymous-auth=false", "--allow-privileged=true",
		"--service-account-issuer=https://kubernetes.default.svc", "--service-account-key-file=" + p.path("sa.key"),
		"--service-account-signing-key-file=" + p.path("sa.key"),
		// Pods get no token volume, and new nodes no taint, because no controller that a machine would satisfy takes it off again.
		"--disable-admission-plugins=ServiceAccount,TaintNodesByCondition",
		fmt.Sprintf("--default-not-ready-toleration-seconds=%d", o.tolerationSeconds),
		fmt.Sprintf("--default-unreachable-toleration-seconds=%d", o.tolerationSeconds),
		// Addresses of a type no node has: logs and exec fail at once, and nothing is ever sent to the invented addresses of the seed.
		"--kubelet-preferred-address-types=ExternalDNS",
	}
}

func (p *plane) controllers(o options) []string {
	arguments := []string{
		"--kubeconfig=" + p.path("kubeconfig"), "--leader-elect=false", "--secure-port=0", "--root-ca-file=" + p.path("ca.crt"),
		"--service-account-private-key-file=" + p.path("sa.key"),
	}
	if o.taintEviction {
		// The default of 50 s is a long wait in a test; three leases missed are as sure a sign.
		return append(arguments, "--controllers=*", "--node-monitor-period=1s", "--node-monitor-grace-period=6s")
	}
	return append(arguments, "--controllers=*,-node-lifecycle-controller,-taint-eviction-controller")
}

// launch starts a process that ends the whole plane if it ends.
func (p *plane) launch(program string, arguments ...string) error {
	name := filepath.Base(program)
	file, err := os.Create(p.path(name + ".log"))
	if err != nil {
		return err
	}
	defer file.Close()
	child := exec.Command(program, arguments...)
	child.Stdout, child.Stderr, child.Dir = file, file, p.dir
	// A group of its own, so that everything it starts dies with it; and the kernel kills it should this process be killed.
	child.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	// Nothing of the environment (proxies, ETCD_* options, KUBECONFIG) may change what a test sees.
	child.Env = []string{"HOME=" + p.dir, "TMPDIR=" + p.dir, "PATH=" + os.Getenv("PATH")}
	if err := child.Start(); err != nil {
		return err
	}
	p.children = append(p.children, child)
	p.waits.Go(func() {
		err := child.Wait()
		p.cancel(fmt.Errorf("%s ended (%v):\n%s", name, err, p.lastLines(name)))
	})
	return nil
}

// stop kills everything and removes every file. Nothing here is worth an orderly end.
func (p *plane) stop() {
	for _, child := range p.children {
		_ = syscall.Kill(-child.Process.Pid, syscall.SIGKILL)
	}
	p.waits.Wait()
	if err := os.RemoveAll(p.dir); err != nil {
		log.Printf("left behind: %v", err)
	}
	p.lock.Close()
}

func (p *plane) lastLines(name string) string {
	// Enough to hold the error and what led to it.
	const limit = 15
	content, _ := os.ReadFile(p.path(name + ".log"))
	lines := strings.Split(strings.TrimSpace(string(content)), "\n")
	return strings.Join(lines[max(0, len(lines)-limit):], "\n")
}

// writeSecrets makes the tokens and the key that signs service accounts' tokens, and returns the administrator's and the bot's token.
func (p *plane) writeSecrets() ([2]string, error) {
	tokens := [2]string{random(), random()}
	lines := fmt.Sprintf("%s,admin,admin,\"system:masters\"\n%s,%s,stanch,\"%s\"\n", tokens[0], tokens[1], botUser, botGroups)
	if err := os.WriteFile(p.path("tokens.csv"), []byte(lines), 0o600); err != nil {
		return tokens, err
	}
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return tokens, err
	}
	block := pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}
	return tokens, os.WriteFile(p.path("sa.key"), pem.EncodeToMemory(&block), 0o600)
}

// awaitServer waits until the apiserver is ready, and writes the kubeconfig.
func (p *plane) awaitServer(ctx context.Context, server string, tokens [2]string) (*rest.Config, error) {
	var client *kubernetes.Clientset
	var config *rest.Config
	err := wait.PollUntilContextCancel(ctx, pollEvery, true, func(ctx context.Context) (bool, error) {
		authority, err := authorityOf(p.path("certs/apiserver.crt"))
		if err != nil {
			return false, nil
		}
		if client == nil {
			if config, err = p.writeKubeconfig(server, authority, tokens); err != nil {
				return false, err
			}
			if client, err = kubernetes.NewForConfig(config); err != nil {
				return false, err
			}
		}
		return client.CoreV1().RESTClient().Get().AbsPath("/readyz").Do(ctx).Error() == nil, nil
	})
	return config, explain(ctx, "kube-apiserver", err)
}

func (p *plane) writeKubeconfig(server string, authority []byte, tokens [2]string) (*rest.Config, error) {
	if err := os.WriteFile(p.path("ca.crt"), authority, 0o600); err != nil {
		return nil, err
	}
	content := clientcmdapi.NewConfig()
	content.Clusters[adminContext] = &clientcmdapi.Cluster{Server: server, CertificateAuthorityData: authority}
	for i, name := range []string{adminContext, botContext} {
		content.AuthInfos[name] = &clientcmdapi.AuthInfo{Token: tokens[i]}
		content.Contexts[name] = &clientcmdapi.Context{Cluster: adminContext, AuthInfo: name}
	}
	content.CurrentContext = adminContext
	if err := clientcmd.WriteToFile(*content, p.path("kubeconfig")); err != nil {
		return nil, err
	}
	config, err := clientcmd.BuildConfigFromFlags("", p.path("kubeconfig"))
	if err == nil {
		// The client's own throttle would make seeding last seconds.
		config.QPS = -1
	}
	return config, err
}

// authorityOf finds the certificate authority in the chain that the apiserver made for itself.
func authorityOf(path string) ([]byte, error) {
	rest, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	for {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			return nil, fmt.Errorf("no authority in %s", path)
		}
		certificate, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		if certificate.IsCA && bytes.Equal(certificate.RawIssuer, certificate.RawSubject) {
			return pem.EncodeToMemory(block), nil
		}
	}
}

// freePorts finds ports that are free now. All are held at once so that they differ; that somebody takes one before its server does ends the
// start with a plain error.
func freePorts(count int) ([]int, error) {
	var ports []int
	for range count {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer listener.Close()
		ports = append(ports, listener.Addr().(*net.TCPAddr).Port)
	}
	return ports, nil
}

func random() string {
	token := make([]byte, 16)
	_, _ = rand.Read(token)
	return hex.EncodeToString(token)
}

// explain says what was waited for when a wait ended.
func explain(ctx context.Context, what string, err error) error {
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return fmt.Errorf("%s: %w", what, err)
}
