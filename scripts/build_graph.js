// Builds one workflow in the frontend from a plan and returns it as UI and as API JSON.
async (plan) => {
  const GAP = 40, TITLE = 30, TOP = plan.groups.length > 1 ? 110 : 60, BAND = 170, LEFT = 40, COLUMN_GAP = 80
  const app = window.app
  app.graph.clear()
  app.graph.id = crypto.randomUUID() // the frontend remembers widget values by graph, node and name
  const nodes = {}
  const columns = [...new Set(plan.nodes.map((n) => n.column))].sort((a, b) => a - b)
  const left = {}
  let x = LEFT
  for (const column of columns) {
    left[column] = x
    x += Math.max(...plan.nodes.filter((n) => n.column === column).map((n) => n.width)) + COLUMN_GAP
  }
  for (const wanted of plan.nodes) {
    const node = LiteGraph.createNode(wanted.type)
    if (!node) throw new Error(`there is no node type ${wanted.type}`)
    app.graph.add(node)
    if (wanted.title) node.title = wanted.title
    for (const [name, value] of Object.entries(wanted.widgets)) {
      const widget = node.widgets.find((w) => w.name === name) ?? (name === 'text' ? node.widgets[0] : undefined)
      if (!widget) throw new Error(`${wanted.type} has no widget ${name}, only ${node.widgets.map((w) => w.name)}`)
      widget.value = value
      widget.callback?.(value)
    }
    nodes[wanted.key] = node
  }
  for (const wanted of plan.nodes) {
    const target = nodes[wanted.key]
    for (const [input, origin] of Object.entries(wanted.links)) {
      const [key, output] = origin.split('.')
      const from = nodes[key].findOutputSlot(output), to = target.findInputSlot(input)
      if (from < 0 || to < 0) throw new Error(`cannot link ${origin} to ${wanted.type}.${input}: outputs ${nodes[key].outputs.map((o) => o.name)}`)
      nodes[key].connect(from, target, to)
    }
  }
  let top = TOP
  for (const [index, title] of plan.groups.entries()) {
    const bottom = {}
    for (const wanted of plan.nodes.filter((n) => n.group === index)) {
      const node = nodes[wanted.key]
      const height = Math.max(wanted.height ?? 0, Math.ceil(node.computeSize()[1]))
      const y = bottom[wanted.column] ?? top
      node.pos = [left[wanted.column], y]
      node.setSize([wanted.width, height])
      bottom[wanted.column] = y + height + TITLE + GAP
    }
    const lowest = Math.max(...Object.values(bottom)) - TITLE - GAP
    if (title) {
      const members = plan.nodes.filter((n) => n.group === index && n.column > 0).map((n) => nodes[n.key])
      const right = Math.max(...members.map((n) => n.pos[0] + n.size[0]))
      const start = Math.min(...members.map((n) => n.pos[0]))
      const group = new LGraphGroup(title)
      group.pos = [start - 20, top - TITLE - 50]
      group.size = [right - start + 40, lowest - top + TITLE + 80]
      app.graph.add(group)
    }
    top = lowest + BAND
  }
  app.graph.setDirtyCanvas(true, true)
  await new Promise((done) => setTimeout(done, 300))
  const { workflow, output } = await app.graphToPrompt()
  return {
    workflow,
    output,
    ids: Object.fromEntries(Object.entries(nodes).map(([key, node]) => [key, node.id])),
    extent: [x - COLUMN_GAP + LEFT, top - BAND + 70]
  }
}
