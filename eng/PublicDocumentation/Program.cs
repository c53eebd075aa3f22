// Removes from an assembly's documentation file what is not visible outside of the assembly. The compiler writes all.
// Arguments: the assembly, its documentation file, and a file with the path of a referenced assembly in each line.
using System.Xml.Linq;
using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.CSharp;

MetadataReference assembly = MetadataReference.CreateFromFile(args[0]);
IEnumerable<MetadataReference> others = File.ReadLines(args[2]).Select(path => MetadataReference.CreateFromFile(path));
CSharpCompilation compilation = CSharpCompilation.Create("documentation", references: [assembly, .. others]);
HashSet<string> visible = [];
Visit(((IAssemblySymbol)compilation.GetAssemblyOrModuleSymbol(assembly)!).GlobalNamespace);

XDocument documentation = XDocument.Load(args[1], LoadOptions.PreserveWhitespace);
XElement[] members = [.. documentation.Descendants("member")];
foreach (XElement member in members.Where(member => !visible.Contains((string)member.Attribute("name")!)))
{
    // with the line break before it
    (member.PreviousNode as XText)?.Remove();
    member.Remove();
}

documentation.Save(args[1]);
Console.WriteLine($"{Path.GetFileName(args[1])}: {documentation.Descendants("member").Count()} of {members.Length} members are public");

void Visit(INamespaceOrTypeSymbol container)
{
    foreach (ISymbol symbol in container.GetMembers())
    {
        if (symbol is not INamespaceSymbol && !IsVisible(symbol))
            continue;
        if (symbol.GetDocumentationCommentId() is { } id)
            visible.Add(id);
        if (symbol is INamespaceOrTypeSymbol inner)
            Visit(inner);
    }
}

// a sealed type's protected members are its own
static bool IsVisible(ISymbol symbol) => symbol.DeclaredAccessibility == Accessibility.Public ||
    symbol.DeclaredAccessibility is Accessibility.Protected or Accessibility.ProtectedOrInternal &&
    symbol.ContainingType is { IsSealed: false };
