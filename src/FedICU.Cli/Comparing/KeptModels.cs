namespace FedICU.Cli.Comparing;

/// <summary>Which models a comparison keeps after their evaluation.</summary>
internal enum KeptModels
{
    All,
    Best,
    None,
}
