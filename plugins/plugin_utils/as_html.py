# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: for this collection only; may change in any release.

"""The result of user_synchronization as a page of HTML, for who has to approve it: what is removed comes first."""

from __future__ import annotations

from typing import Any

from jinja2 import Environment
from markupsafe import Markup

from ..module_utils import _page
from . import summary

_BODY = """\
{%- macro more(count) %}{% if count %}<span class="note">… and {{ count | number }} more</span>{% endif %}{% endmacro %}
{%- macro people(listed, sign, class) %}
{%- set names, left_out = listed %}
{%- if names or left_out %}
<div class="members {{ class }}">
{%- set count = names | length + left_out %}
{%- if count > 12 %}<details><summary>{{ sign }} {{ count | number }} members</summary>{% endif %}
{%- for name in names %}{{ sign }}&nbsp;<bdi>{{ name }}</bdi>{{ ", " if not loop.last }}{% endfor %}
{{- " " if left_out }}{{ more(left_out) }}
{%- if count > 12 %}</details>{% endif %}
</div>
{%- endif %}
{%- endmacro %}
{%- macro branch(nodes) %}
{%- for node in nodes %}
<li class="{{ node.kind or 'holder' }}"><span class="name"><bdi>{{ node.name }}</bdi></span>
{%- if node.notes %} <span class="note">{{ node.notes | join(", ") }}
{%- if node.was %}, before <bdi>{{ node.was }}</bdi>{% endif %}</span>{% endif %}
{{- people(node.removed, "\N{MINUS SIGN}", "removed") }}{{ people(node.added, "+", "added") }}
{%- if node.children %}<ul>{{ branch(node.children) }}</ul>{% endif %}</li>
{%- endfor %}
{%- endmacro %}
{%- macro lists(found) %}
{%- for each in found %}
{%- set count = each.lines | length + each.left_out %}
<details{{ " open" if count <= 12 }}><summary>{{ count | number }} {{ each.verb }}</summary>
<ul class="names">{% for name in each.lines %}<li><bdi>{{ name }}</bdi></li>{% endfor %}</ul>
{{- more(each.left_out) }}</details>
{%- endfor %}
{%- endmacro %}
<header>
<h1><bdi>{{ title }}</bdi></h1>
<p class="headline"><span class="mode {{ kind }}">{{ mode }}.</span> {{ headline }}</p>
<dl>{% for what, value in facts %}<dt>{{ what }}</dt><dd><bdi>{{ value }}</bdi></dd>{% endfor %}</dl>
</header>
<main>
{%- if message or refusals %}
<section class="refused" role="alert">
{%- if message %}<p><bdi>{{ message }}</bdi></p>{% endif %}
{%- if refusals %}<ul>{% for refusal in refusals %}<li><bdi>{{ refusal }}</bdi></li>{% endfor %}</ul>{% endif %}
</section>
{%- endif %}
{%- if counts %}
<div class="counts">
{%- for what, numbers, total in counts %}
<section><h2>{{ what | capitalize }}</h2><ul>
{%- for number, verb in numbers %}<li><b>{{ number }}</b> {{ verb }}</li>{% endfor %}
<li class="none"><b>{{ total }}</b> in total</li></ul></section>
{%- endfor %}
</div>
{%- endif %}
{{ search }}
{%- if removed or losing %}
<h2>What is removed</h2>
{{- lists(removed) }}
{%- if losing %}
<ul class="rows">{% for each in losing %}<li class="{{ each.kind }}">
{#- -#}<span class="name"><bdi>{{ each.path }}</bdi></span>
{%- if each.ends %} <span class="note">{{ each.ends }}</span>{% endif %}
{{- people(each.members, "\N{MINUS SIGN}", "removed") }}</li>
{%- endfor %}</ul>
{%- endif %}
{%- endif %}
{%- if tree or tree_left_out %}
<h2>User groups</h2>
<ul class="tree">{{ branch(tree) }}</ul>{{ more(tree_left_out) }}
{%- endif %}
{%- if users %}
<h2>Users</h2>
{{- lists(users) }}
{%- endif %}
{%- for section in sections %}
<h2>{{ section.title }}</h2>
<ul class="rows">{% for row in section.rows %}<li>{% for cell in row %}<div><bdi>{{ cell }}</bdi></div>{% endfor %}</li>
{% endfor %}</ul>{{ more(section.left_out) }}
{%- endfor %}
{%- if truncated %}
<p class="note">The lists are cut at report_limit and report_bytes, the counts are not.</p>
{%- endif %}
</main>
"""


def html(result: Any) -> str:
    """Return one page of HTML that needs nothing else. Raises ValueError for what is no result."""
    result = summary.read(result)
    kind, mode = summary.mode(result)
    environment = Environment(autoescape=True)
    environment.filters["number"] = "{:,}".format
    body = environment.from_string(_BODY).render(
        title=summary.title(result),
        search=Markup(_page.SEARCH),
        kind=kind,
        mode=mode,
        headline=summary.headline(result),
        message=summary.complaint(result),
        refusals=summary.refusals(result),
        counts=list(summary.counts(result)),
        removed=summary.users_removed(result),
        losing=summary.losing(result),
        tree=summary.tree(summary.nodes(result)),
        tree_left_out=summary.groups_left_out(result),
        users=summary.users_else(result),
        sections=summary.sections(result),
        facts=summary.facts(result),
        truncated=bool(result.get("report_truncated")),
    )
    return _page.frame(summary.title(result), body)
