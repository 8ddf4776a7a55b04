// Package kubelet stands in for the kubelets of a cluster that has no machines.
//
// It keeps every Node of the cluster alive (lease and Ready condition), shows the pods bound to it as running, and finalises the deletion
// of terminating ones once their grace period is over, as a kubelet does. Nothing runs, and nothing answers on port 10250, so logs, exec and
// port-forward fail. Init containers and probes are not played.
package kubelet

import (
	"context"
	"crypto/sha256"
	"fmt"
	"log"
	"net/netip"
	"strings"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	corelisters "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/tools/cache"
)

// Unreachable on a Node, with the value "true", takes its kubelet off the network: no heartbeat, no status, no deletion is finalised.
const Unreachable = "stanch.test/unreachable"

const (
	// Well under the shortest grace period the node lifecycle controller is run with (6 s), and negligible for a handful of nodes.
	leasePeriod = 2 * time.Second
	// What a kubelet reports when nothing changed is rare too; the lease is what counts.
	statusPeriod = time.Minute
	// How late a deletion may be finalised. Everything else is done when the watch tells of it.
	tick = 200 * time.Millisecond
)

type kubelet struct {
	client kubernetes.Interface
	nodes  corelisters.NodeLister
	pods   corelisters.PodLister
	// When each node's lease was last renewed.
	renewed map[string]time.Time
	// Addresses given to pods, and the last one given on each node.
	addresses map[types.UID]netip.Addr
	last      map[string]netip.Addr
}

// Run serves every node of the cluster until ctx ends.
func Run(ctx context.Context, client kubernetes.Interface) error {
	factory := informers.NewSharedInformerFactory(client, 0)
	k := &kubelet{
		client: client, nodes: factory.Core().V1().Nodes().Lister(), pods: factory.Core().V1().Pods().Lister(),
		renewed: map[string]time.Time{}, addresses: map[types.UID]netip.Addr{}, last: map[string]netip.Addr{},
	}
	changed := make(chan struct{}, 1)
	wake := func() {
		select {
		case changed <- struct{}{}:
		default:
		}
	}
	handler := cache.ResourceEventHandlerFuncs{
		AddFunc: func(any) { wake() }, UpdateFunc: func(any, any) { wake() }, DeleteFunc: func(any) { wake() },
	}
	for _, informer := range []cache.SharedIndexInformer{factory.Core().V1().Nodes().Informer(), factory.Core().V1().Pods().Informer()} {
		if _, err := informer.AddEventHandler(handler); err != nil {
			return err
		}
	}
	factory.Start(ctx.Done())
	factory.WaitForCacheSync(ctx.Done())
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
		case <-ticker.C:
		}
		k.sync(ctx)
	}
}

// sync brings everything to where it should be by now. It looks at levels only, so a failed or conflicting write is simply done again.
func (k *kubelet) sync(ctx context.Context) {
	nodes, err := k.nodes.List(labels.Everything())
	if err != nil {
		complain("list nodes", err)
		return
	}
	reachable := map[string]*corev1.Node{}
	for _, node := range nodes {
		if node.Annotations[Unreachable] == "true" {
			continue
		}
		reachable[node.Name] = node
		complain("heartbeat of "+node.Name, k.heartbeat(ctx, node))
	}
	pods, err := k.pods.List(labels.Everything())
	if err != nil {
		complain("list pods", err)
		return
	}
	for _, pod := range pods {
		node := reachable[pod.Spec.NodeName]
		switch {
		case node == nil:
		case pod.DeletionTimestamp == nil && pod.Status.Phase == corev1.PodPending:
			complain("run "+pod.Name, k.run(ctx, node, pod))
		case pod.DeletionTimestamp != nil && !time.Now().Before(pod.DeletionTimestamp.Time):
			complain("finalise "+pod.Name, k.finalise(ctx, pod))
		}
	}
}

// complain reports what is no ordinary race with another writer.
func complain(what string, err error) {
	if err != nil && !errors.IsConflict(err) && !errors.IsNotFound(err) && !errors.IsAlreadyExists(err) {
		log.Printf("kubelet: %s: %v", what, err)
	}
}

// === nodes ===

func (k *kubelet) heartbeat(ctx context.Context, node *corev1.Node) error {
	now := time.Now()
	if now.Sub(k.renewed[node.Name]) >= leasePeriod {
		if err := k.renewLease(ctx, node, now); err != nil {
			return err
		}
		k.renewed[node.Name] = now
	}
	for _, condition := range node.Status.Conditions {
		if condition.Type == corev1.NodeReady && condition.Status == corev1.ConditionTrue && now.Sub(condition.LastHeartbeatTime.Time) < statusPeriod {
			return nil
		}
	}
	node = node.DeepCopy()
	node.Status.Conditions = conditions(node, metav1.NewTime(now))
	if len(node.Status.Capacity) == 0 {
		node.Status.Capacity = corev1.ResourceList{
			corev1.ResourceCPU: resource.MustParse("4"), corev1.ResourceMemory: resource.MustParse("16Gi"), corev1.ResourcePods: resource.MustParse("110"),
		}
		node.Status.Allocatable = node.Status.Capacity
	}
	_, err := k.client.CoreV1().Nodes().UpdateStatus(ctx, node, metav1.UpdateOptions{})
	return err
}

func (k *kubelet) renewLease(ctx context.Context, node *corev1.Node, now time.Time) error {
	leases := k.client.CoordinationV1().Leases(corev1.NamespaceNodeLease)
	renewed, seconds := metav1.NewMicroTime(now), int32(40)
	spec := coordinationv1.LeaseSpec{HolderIdentity: &node.Name, LeaseDurationSeconds: &seconds, RenewTime: &renewed}
	lease, err := leases.Get(ctx, node.Name, metav1.GetOptions{})
	if errors.IsNotFound(err) {
		owner := metav1.OwnerReference{APIVersion: "v1", Kind: "Node", Name: node.Name, UID: node.UID}
		lease = &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Name: node.Name, OwnerReferences: []metav1.OwnerReference{owner}}, Spec: spec}
		_, err = leases.Create(ctx, lease, metav1.CreateOptions{})
		return err
	}
	if err != nil {
		return err
	}
	lease.Spec = spec
	_, err = leases.Update(ctx, lease, metav1.UpdateOptions{})
	return err
}

func conditions(node *corev1.Node, now metav1.Time) []corev1.NodeCondition {
	since := map[corev1.NodeConditionType]corev1.NodeCondition{}
	for _, old := range node.Status.Conditions {
		since[old.Type] = old
	}
	condition := func(kind corev1.NodeConditionType, status corev1.ConditionStatus, reason, message string) corev1.NodeCondition {
		changed := now
		if old, ok := since[kind]; ok && old.Status == status {
			changed = old.LastTransitionTime
		}
		return corev1.NodeCondition{Type: kind, Status: status, Reason: reason, Message: message, LastHeartbeatTime: now, LastTransitionTime: changed}
	}
	return []corev1.NodeCondition{
		condition(corev1.NodeMemoryPressure, corev1.ConditionFalse, "KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
		condition(corev1.NodeDiskPressure, corev1.ConditionFalse, "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
		condition(corev1.NodePIDPressure, corev1.ConditionFalse, "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
		condition(corev1.NodeReady, corev1.ConditionTrue, "KubeletReady", "kubelet is posting ready status"),
	}
}

// === pods ===

func (k *kubelet) run(ctx context.Context, node *corev1.Node, pod *corev1.Pod) error {
	now := metav1.Now()
	pod = pod.DeepCopy()
	status := &pod.Status
	host := internalIP(node)
	address := host
	if !pod.Spec.HostNetwork {
		address = k.address(node, pod).String()
	}
	status.Phase, status.StartTime, status.Conditions = corev1.PodRunning, &now, podConditions(status.Conditions, now)
	status.HostIP, status.HostIPs = host, []corev1.HostIP{{IP: host}}
	status.PodIP, status.PodIPs = address, []corev1.PodIP{{IP: address}}
	status.ContainerStatuses = nil
	for _, container := range pod.Spec.Containers {
		started := true
		status.ContainerStatuses = append(status.ContainerStatuses, corev1.ContainerStatus{
			Name: container.Name, Image: container.Image, Ready: true, Started: &started,
			ImageID:     fmt.Sprintf("%s@sha256:%x", repository(container.Image), sha256.Sum256([]byte(container.Image))),
			ContainerID: fmt.Sprintf("containerd://%x", sha256.Sum256([]byte(string(pod.UID)+"/"+container.Name))),
			State:       corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: now}},
		})
	}
	_, err := k.client.CoreV1().Pods(pod.Namespace).UpdateStatus(ctx, pod, metav1.UpdateOptions{})
	return err
}

// podConditions keeps what others wrote (the scheduler's PodScheduled) and adds what a kubelet says of a healthy pod.
func podConditions(old []corev1.PodCondition, now metav1.Time) []corev1.PodCondition {
	ours := []corev1.PodConditionType{corev1.PodReadyToStartContainers, corev1.PodInitialized, corev1.PodReady, corev1.ContainersReady}
	var all []corev1.PodCondition
	for _, kind := range ours {
		all = append(all, corev1.PodCondition{Type: kind, Status: corev1.ConditionTrue, LastTransitionTime: now})
	}
	for _, condition := range old {
		if condition.Type == corev1.PodScheduled {
			all = append(all, condition)
		}
	}
	return all
}

// finalise ends a deletion whose grace period is over. The node is asked for again: a test that marks a node unreachable and evicts at once
// may be ahead of the cache.
func (k *kubelet) finalise(ctx context.Context, pod *corev1.Pod) error {
	node, err := k.client.CoreV1().Nodes().Get(ctx, pod.Spec.NodeName, metav1.GetOptions{})
	if err != nil || node.Annotations[Unreachable] == "true" {
		return err
	}
	delete(k.addresses, pod.UID)
	options := metav1.NewDeleteOptions(0)
	options.Preconditions = metav1.NewUIDPreconditions(string(pod.UID))
	return k.client.CoreV1().Pods(pod.Namespace).Delete(ctx, pod.Name, *options)
}

// address gives a pod the next address of its node's range, and the same one when its status has to be written again.
func (k *kubelet) address(node *corev1.Node, pod *corev1.Pod) netip.Addr {
	if address, ok := k.addresses[pod.UID]; ok {
		return address
	}
	last, ok := k.last[node.Name]
	if !ok {
		// The first address of a range is the node's own bridge. A node without a range shares one with its like.
		prefix, err := netip.ParsePrefix(node.Spec.PodCIDR)
		if err != nil {
			prefix = netip.MustParsePrefix("10.200.0.0/16")
		}
		last = prefix.Addr().Next()
	}
	address := last.Next()
	k.last[node.Name], k.addresses[pod.UID] = address, address
	return address
}

func internalIP(node *corev1.Node) string {
	for _, address := range node.Status.Addresses {
		if address.Type == corev1.NodeInternalIP {
			return address.Address
		}
	}
	return ""
}

// repository is an image reference without its tag and digest.
func repository(image string) string {
	image, _, _ = strings.Cut(image, "@")
	if colon := strings.LastIndex(image, ":"); colon > strings.LastIndex(image, "/") {
		image = image[:colon]
	}
	return image
}
