using FedICU.TestChild;

// work that a test cannot do in its own process, because it ends or may end the process
return args switch
{
    ["write-half", string path] => Writing.Half(path),
    ["write-forever", string path] => Writing.Forever(path),
    ["write-folder-forever", string kind, string folder] => Writing.FolderForever(kind, folder),
    ["fedadam-until", string step, string folder] => FedAdamRound.Until(step, folder),
    ["state-rounds-until", string step, string folder] => StateRounds.Until(step, folder),
    ["state-rounds-forever", string folder] => StateRounds.Forever(folder),
    ["read-while-truncated", string path] => Reading.UntilRefused(path),
    ["session-forever", string folder] => await Sessions.ForeverAsync(folder),
    ["collect-forever", string folder] => await Sessions.CollectForeverAsync(folder),
    ["upload-forever", string folder] => await Sessions.UploadForeverAsync(folder),
    ["compute-hash"] => ComputeHash.Print(),
    ["aggregate-peak", string strategy, string output, string global, .. string[] clients] =>
        await PeakMemory.AggregateAsync(strategy, output, global, clients),
    ["aggregate-folder", string strategy, string output, string global, string folder] =>
        await ManyClients.AggregateAsync(strategy, output, global, folder),
    ["aggregate-while-truncated", string output, string global, .. string[] clients] =>
        await BrokenRound.UntilRefusedAsync(output, global, clients),
    _ => 2,
};
