package main

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"
)

const (
	// On a workload: the nodes of its first pods, by name, with commas.
	placement = "stanch.test/nodes"
	// On the namespace kube-system: this cluster is nobody's, so tests may do with it what they like.
	disposable = "stanch.dev/disposable"
)

// seeder makes a cluster look as its manifests say.
//
// Who creates a pod (a controller) and who places it (the scheduler) are real, so neither can be told where it goes. While the cluster is
// seeded every node is therefore cordoned, and the pods of workloads with the annotation stanch.test/nodes are bound here, as a scheduler
// would bind them. Nothing of that remains in the pods or their templates: what is evicted later goes where the scheduler wants it.
type seeder struct {
	// The cluster was made for this: nodes are created, and it is marked as disposable. Otherwise its own nodes play those of the seed.
	ours   bool
	image  string
	client kubernetes.Interface
	any    dynamic.Interface
	mapper meta.RESTMapper
	// Which node of the cluster plays each node of the seed.
	nodes map[string]string
}

func (s *seeder) seed(ctx context.Context, config *rest.Config, manifests []unstructured.Unstructured) error {
	if err := s.connect(config); err != nil {
		return err
	}
	if err := s.claim(ctx); err != nil {
		return err
	}
	if !s.ours {
		manifests = portable(manifests, s.image)
		if err := s.remove(ctx, manifests); err != nil {
			return err
		}
	}
	closed, err := s.closeNodes(ctx, manifests)
	if err == nil {
		err = s.fill(ctx, manifests)
	}
	// Somebody else's nodes are opened again whatever happened.
	for _, name := range closed {
		if opened := s.cordon(context.WithoutCancel(ctx), name, false); err == nil {
			err = opened
		}
	}
	if err != nil {
		return err
	}
	return s.settle(ctx, manifests)
}

// fill creates everything but nodes, and places the pods, while no node takes any by itself.
func (s *seeder) fill(ctx context.Context, manifests []unstructured.Unstructured) error {
	for i := range manifests {
		if manifests[i].GetKind() == "Node" {
			continue
		}
		if err := s.create(ctx, &manifests[i]); err != nil {
			return fmt.Errorf("create %s %s: %w", manifests[i].GetKind(), manifests[i].GetName(), err)
		}
	}
	return s.place(ctx, manifests)
}

func (s *seeder) connect(config *rest.Config) (err error) {
	if s.client, err = kubernetes.NewForConfig(config); err != nil {
		return err
	}
	if s.any, err = dynamic.NewForConfig(config); err != nil {
		return err
	}
	groups, err := restmapper.GetAPIGroupResources(s.client.Discovery())
	if err != nil {
		return err
	}
	s.mapper = restmapper.NewDiscoveryRESTMapper(groups)
	return nil
}

// claim marks our own cluster as disposable, and refuses any other that is not.
func (s *seeder) claim(ctx context.Context) error {
	namespaces := s.client.CoreV1().Namespaces()
	if s.ours {
		patch := fmt.Appendf(nil, `{"metadata":{"annotations":{%q:"true"}}}`, disposable)
		return until(ctx, "namespace kube-system", func(ctx context.Context) (string, error) {
			_, err := namespaces.Patch(ctx, metav1.NamespaceSystem, types.MergePatchType, patch, metav1.PatchOptions{})
			if errors.IsNotFound(err) {
				return err.Error(), nil
			}
			return "", err
		})
	}
	system, err := namespaces.Get(ctx, metav1.NamespaceSystem, metav1.GetOptions{})
	if err != nil {
		return err
	}
	if system.Annotations[disposable] != "true" {
		return fmt.Errorf("refused: the namespace kube-system of this cluster is not annotated with %s=true", disposable)
	}
	return nil
}

// === nodes ===

// closeNodes creates the nodes, or finds others to play them, and cordons all that are open, which it returns.
func (s *seeder) closeNodes(ctx context.Context, manifests []unstructured.Unstructured) ([]string, error) {
	s.nodes = map[string]string{}
	var closed []string
	var wanted []*unstructured.Unstructured
	for i := range manifests {
		if manifests[i].GetKind() == "Node" {
			wanted = append(wanted, &manifests[i])
		}
	}
	if s.ours {
		for _, node := range wanted {
			if cordoned, _, _ := unstructured.NestedBool(node.Object, "spec", "unschedulable"); !cordoned {
				closed = append(closed, node.GetName())
			}
			if err := unstructured.SetNestedField(node.Object, true, "spec", "unschedulable"); err != nil {
				return nil, err
			}
			if err := s.create(ctx, node); err != nil {
				return nil, fmt.Errorf("create node %s: %w", node.GetName(), err)
			}
			s.nodes[node.GetName()] = node.GetName()
		}
		return closed, nil
	}
	all, err := s.client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, err
	}
	for _, node := range all.Items {
		if !node.Spec.Unschedulable {
			closed = append(closed, node.Name)
		}
	}
	if len(closed) < len(wanted) {
		return nil, fmt.Errorf("the cluster has %d schedulable nodes and the seed needs %d", len(closed), len(wanted))
	}
	s.cast(wanted, closed)
	for _, name := range closed {
		if err := s.cordon(ctx, name, true); err != nil {
			return closed, err
		}
	}
	return closed, nil
}

// cast gives each node of the seed one of the cluster's: its namesake, else the first that plays no other.
func (s *seeder) cast(wanted []*unstructured.Unstructured, open []string) {
	free := slices.Clone(open)
	for _, node := range wanted {
		if i := slices.Index(free, node.GetName()); i >= 0 {
			s.nodes[node.GetName()] = node.GetName()
			free = slices.Delete(free, i, i+1)
		}
	}
	for _, node := range wanted {
		if s.nodes[node.GetName()] == "" {
			s.nodes[node.GetName()], free = free[0], free[1:]
		}
	}
}

func (s *seeder) cordon(ctx context.Context, name string, on bool) error {
	patch := fmt.Appendf(nil, `{"spec":{"unschedulable":%t}}`, on)
	_, err := s.client.CoreV1().Nodes().Patch(ctx, name, types.MergePatchType, patch, metav1.PatchOptions{})
	return err
}

// === objects ===

func (s *seeder) resource(object *unstructured.Unstructured) (dynamic.ResourceInterface, error) {
	kind := object.GroupVersionKind()
	mapping, err := s.mapper.RESTMapping(kind.GroupKind(), kind.Version)
	if err != nil {
		return nil, err
	}
	if mapping.Scope.Name() == meta.RESTScopeNameNamespace {
		return s.any.Resource(mapping.Resource).Namespace(object.GetNamespace()), nil
	}
	return s.any.Resource(mapping.Resource), nil
}

func (s *seeder) create(ctx context.Context, object *unstructured.Unstructured) error {
	if err := s.resolve(ctx, object); err != nil {
		return err
	}
	resource, err := s.resource(object)
	if err != nil {
		return err
	}
	_, err = resource.Create(ctx, object, metav1.CreateOptions{FieldValidation: metav1.FieldValidationStrict})
	return err
}

// resolve fills in what a manifest cannot know: the node that plays the one it names, and the uid of a node that owns a mirror pod.
func (s *seeder) resolve(ctx context.Context, object *unstructured.Unstructured) error {
	if object.GetKind() != "Pod" {
		return nil
	}
	if name, ok, _ := unstructured.NestedString(object.Object, "spec", "nodeName"); ok {
		if err := unstructured.SetNestedField(object.Object, s.nodes[name], "spec", "nodeName"); err != nil {
			return err
		}
	}
	owners := object.GetOwnerReferences()
	for i := range owners {
		if owners[i].Kind != "Node" {
			continue
		}
		node, err := s.client.CoreV1().Nodes().Get(ctx, owners[i].Name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		owners[i].UID = node.UID
	}
	if len(owners) > 0 {
		object.SetOwnerReferences(owners)
	}
	return nil
}

// remove deletes what an earlier seeding left, and waits until it is gone.
func (s *seeder) remove(ctx context.Context, manifests []unstructured.Unstructured) error {
	foreground := metav1.DeletePropagationForeground
	for i := range manifests {
		object := &manifests[i]
		if object.GetKind() == "Node" {
			continue
		}
		resource, err := s.resource(object)
		if err != nil {
			return err
		}
		err = until(ctx, fmt.Sprintf("removal of %s %s", object.GetKind(), object.GetName()), func(ctx context.Context) (string, error) {
			err := resource.Delete(ctx, object.GetName(), metav1.DeleteOptions{PropagationPolicy: &foreground})
			switch {
			case errors.IsNotFound(err):
				return "", nil
			case err == nil || errors.IsConflict(err):
				return "still there", nil
			}
			return "", err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// portable makes manifests fit for machines that are not ours: containers that only sleep, no volumes of a cloud, no mirror pods, which a
// kubelet that knows no such static pod deletes at once.
func portable(manifests []unstructured.Unstructured, image string) []unstructured.Unstructured {
	var all []unstructured.Unstructured
	for _, object := range manifests {
		_, mirror := object.GetAnnotations()[corev1.MirrorPodAnnotationKey]
		if mirror || strings.HasPrefix(object.GetKind(), "PersistentVolume") {
			continue
		}
		unstructured.RemoveNestedField(object.Object, "spec", "volumeClaimTemplates")
		for _, path := range [][]string{{"spec", "containers"}, {"spec", "template", "spec", "containers"}} {
			containers, _, _ := unstructured.NestedSlice(object.Object, path...)
			for _, container := range containers {
				if fields, ok := container.(map[string]any); ok {
					fields["image"], fields["command"] = image, []any{"sleep", "infinity"}
				}
			}
			if len(containers) > 0 {
				_ = unstructured.SetNestedSlice(object.Object, containers, path...)
			}
		}
		all = append(all, object)
	}
	return all
}

// === pods ===

// place binds the pods of every workload that says where they belong.
func (s *seeder) place(ctx context.Context, manifests []unstructured.Unstructured) error {
	for i := range manifests {
		workload := &manifests[i]
		where := workload.GetAnnotations()[placement]
		if where == "" {
			continue
		}
		selector, _, err := unstructured.NestedStringMap(workload.Object, "spec", "selector", "matchLabels")
		if err != nil {
			return err
		}
		pods := metav1.ListOptions{LabelSelector: labels.SelectorFromSet(selector).String()}
		err = until(ctx, fmt.Sprintf("placing %s %s on %s", workload.GetKind(), workload.GetName(), where), func(ctx context.Context) (string, error) {
			return s.bind(ctx, workload.GetNamespace(), pods, strings.Split(where, ","))
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// bind gives each pod without a node one of the nodes that has none of these pods yet, and says what is missing.
func (s *seeder) bind(ctx context.Context, namespace string, which metav1.ListOptions, where []string) (string, error) {
	pods, err := s.client.CoreV1().Pods(namespace).List(ctx, which)
	if err != nil {
		return "", err
	}
	var free []string
	for _, name := range where {
		if s.nodes[name] == "" {
			return "", fmt.Errorf("the seed has no node %q", name)
		}
		free = append(free, s.nodes[name])
	}
	for _, pod := range pods.Items {
		if i := slices.Index(free, pod.Spec.NodeName); i >= 0 {
			free = slices.Delete(free, i, i+1)
		} else if pod.Spec.NodeName != "" {
			return "", fmt.Errorf("pod %s is on %s already", pod.Name, pod.Spec.NodeName)
		}
	}
	for _, pod := range pods.Items {
		if pod.Spec.NodeName != "" || len(free) == 0 {
			continue
		}
		binding := &corev1.Binding{
			ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: pod.Name, UID: pod.UID},
			Target:     corev1.ObjectReference{Kind: "Node", Name: free[0]},
		}
		if err := s.client.CoreV1().Pods(namespace).Bind(ctx, binding, metav1.CreateOptions{}); err != nil {
			return "", err
		}
		free = free[1:]
	}
	if len(free) == 0 {
		return "", nil
	}
	return fmt.Sprintf("%d of %d pods", len(where)-len(free), len(where)), nil
}

// === the end ===

// settle waits until every controller has seen the outcome: nodes and pods ready, workloads complete, budgets computed.
func (s *seeder) settle(ctx context.Context, manifests []unstructured.Unstructured) error {
	for i := range manifests {
		object := &manifests[i]
		resource, err := s.resource(object)
		if err != nil {
			return err
		}
		name := object.GetName()
		if object.GetKind() == "Node" {
			name = s.nodes[name]
		}
		err = until(ctx, fmt.Sprintf("%s %s", object.GetKind(), name), func(ctx context.Context) (string, error) {
			now, err := resource.Get(ctx, name, metav1.GetOptions{})
			if err != nil {
				return "", err
			}
			return unsettled(now), nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// unsettled says what an object still lacks.
func unsettled(object *unstructured.Unstructured) string {
	number := func(path ...string) int64 {
		value, _, _ := unstructured.NestedInt64(object.Object, path...)
		return value
	}
	lacks := func(have, want int64) string {
		if want > 0 && have == want && number("status", "observedGeneration") == object.GetGeneration() {
			return ""
		}
		status, _ := json.Marshal(object.Object["status"])
		return string(status)
	}
	switch object.GetKind() {
	case "Deployment", "StatefulSet":
		return lacks(number("status", "readyReplicas"), number("spec", "replicas"))
	case "DaemonSet":
		return lacks(number("status", "numberReady"), number("status", "desiredNumberScheduled"))
	case "PodDisruptionBudget":
		return lacks(number("status", "currentHealthy"), number("status", "expectedPods"))
	case "PersistentVolume":
		if phase, _, _ := unstructured.NestedString(object.Object, "status", "phase"); phase != "Bound" {
			return phase + ", not bound"
		}
	case "Pod", "Node":
		conditions, _, _ := unstructured.NestedSlice(object.Object, "status", "conditions")
		for _, condition := range conditions {
			if fields, ok := condition.(map[string]any); ok && fields["type"] == "Ready" && fields["status"] == "True" {
				return ""
			}
		}
		return "not ready"
	}
	return ""
}

// until asks again and again until nothing is lacking, and tells what was when the time is over.
func until(ctx context.Context, what string, lacking func(context.Context) (string, error)) error {
	last := ""
	err := wait.PollUntilContextCancel(ctx, pollEvery, true, func(ctx context.Context) (bool, error) {
		var err error
		last, err = lacking(ctx)
		return err == nil && last == "", err
	})
	if last != "" {
		what += " (" + last + ")"
	}
	return explain(ctx, what, err)
}
